-- The tables of Weir's records, for Athena. `records_raw` reads the lines as they are, `records` the Parquet files that
-- Firehose converts. Terraform (../terraform) makes both from `columns.json`, which holds the same columns.
--
-- Payloads (`params`, `result`, `error`, `id`, `events`) and signed statements are text: their form is the peers' own. Read
-- them with json_extract. JSON keys are taken as they stand (case.insensitive = false): a payload may have keys that differ
-- by case alone.

CREATE EXTERNAL TABLE records_raw (
  log string,
  epoch bigint,
  seq bigint,
  prev string,
  hash string,
  event struct<
    class_uid:int, class_name:string, activity_id:int, activity_name:string, type_uid:bigint, time:bigint,
    severity_id:int, status_id:int, status:string, status_detail:string, message:string, duration:bigint,
    count:bigint, is_alert:boolean,
    metadata:struct<uid:string, correlation_uid:string, is_truncated:boolean>,
    src_endpoint:struct<ip:string, port:int>,
    dst_endpoint:struct<hostname:string, ip:string, port:int, svc_name:string>,
    http_request:struct<http_method:string, url:struct<hostname:string, port:int, path:string, query_string:string>, version:string, user_agent:string>,
    http_response:struct<code:int>,
    traffic:struct<bytes:bigint, bytes_in:bigint, bytes_out:bigint>,
    mcp:struct<phase:string, call_id:string, outcome:string, method:string, name:string, endpoint:string, era:string, protocol_version:string, session_id:string, id:string, params:string, result:string, error:string, http_status:int, duration_ms:bigint, events:string, edits:array<string>>,
    workload:struct<kind:string, id:string, cgroup:string, cgroup_id:bigint, unit:string, container:struct<id:string, runtime:string>, pod:struct<uid:string>, process:struct<pid:bigint, uid:bigint, comm:string, exe:string, started_ns:bigint>>,
    caller:struct<sub:string, issuer:string, groups:array<string>>,
    credential:struct<kind:string, role_arn:string, session_name:string>,
    verdict:struct<action:string, policy:string, reason:string, approval_id:string, approver:string>,
    flow:struct<id:string, `end`:string, protocol:string, tally:string, shadow:struct<kind:string, evidence:string>>,
    masked:map<string,bigint>,
    lifecycle:struct<kind:string, config_digest:string, boot_id:string, reason:string, cut_bytes:bigint, lost_records:bigint, open_calls:bigint, takeover:boolean, uid:bigint, through_seq:bigint, through_hash:string, segments:bigint, bytes:bigint>,
    checkpoint:string, signing_key:string, reconciliation:string
  >
)
PARTITIONED BY (day string)
ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'
WITH SERDEPROPERTIES ('case.insensitive' = 'false')
LOCATION 's3://EVIDENCE-BUCKET/raw/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.day.type' = 'date',
  'projection.day.format' = 'yyyy-MM-dd',
  'projection.day.range' = '2026-01-01,NOW',
  'storage.location.template' = 's3://EVIDENCE-BUCKET/raw/day=${day}/'
);

CREATE EXTERNAL TABLE records (
  log string,
  epoch bigint,
  seq bigint,
  prev string,
  hash string,
  event struct<
    class_uid:int, class_name:string, activity_id:int, activity_name:string, type_uid:bigint, time:bigint,
    severity_id:int, status_id:int, status:string, status_detail:string, message:string, duration:bigint,
    count:bigint, is_alert:boolean,
    metadata:struct<uid:string, correlation_uid:string, is_truncated:boolean>,
    src_endpoint:struct<ip:string, port:int>,
    dst_endpoint:struct<hostname:string, ip:string, port:int, svc_name:string>,
    http_request:struct<http_method:string, url:struct<hostname:string, port:int, path:string, query_string:string>, version:string, user_agent:string>,
    http_response:struct<code:int>,
    traffic:struct<bytes:bigint, bytes_in:bigint, bytes_out:bigint>,
    mcp:struct<phase:string, call_id:string, outcome:string, method:string, name:string, endpoint:string, era:string, protocol_version:string, session_id:string, id:string, params:string, result:string, error:string, http_status:int, duration_ms:bigint, events:string, edits:array<string>>,
    workload:struct<kind:string, id:string, cgroup:string, cgroup_id:bigint, unit:string, container:struct<id:string, runtime:string>, pod:struct<uid:string>, process:struct<pid:bigint, uid:bigint, comm:string, exe:string, started_ns:bigint>>,
    caller:struct<sub:string, issuer:string, groups:array<string>>,
    credential:struct<kind:string, role_arn:string, session_name:string>,
    verdict:struct<action:string, policy:string, reason:string, approval_id:string, approver:string>,
    flow:struct<id:string, `end`:string, protocol:string, tally:string, shadow:struct<kind:string, evidence:string>>,
    masked:map<string,bigint>,
    lifecycle:struct<kind:string, config_digest:string, boot_id:string, reason:string, cut_bytes:bigint, lost_records:bigint, open_calls:bigint, takeover:boolean, uid:bigint, through_seq:bigint, through_hash:string, segments:bigint, bytes:bigint>,
    checkpoint:string, signing_key:string, reconciliation:string
  >
)
PARTITIONED BY (day string)
STORED AS PARQUET
LOCATION 's3://TABLES-BUCKET/records/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.day.type' = 'date',
  'projection.day.format' = 'yyyy-MM-dd',
  'projection.day.range' = '2026-01-01,NOW',
  'storage.location.template' = 's3://TABLES-BUCKET/records/day=${day}/'
);
