-- The tables of Weir's records, for Athena, written by make.py. `records_raw` reads the lines as they are, `records` the Parquet
-- files that Firehose converts. Terraform (../terraform) makes both, from `columns.json`.
--
-- Payloads (`params`, `result`, `error`, `id`, `events`) and signed statements are text: read them with json_extract. JSON keys
-- are taken as they stand (case.insensitive = false): a payload may have keys that differ by case alone.

CREATE EXTERNAL TABLE records_raw (
  log string,
  epoch bigint,
  seq bigint,
  prev string,
  hash string,
  event struct<class_uid:int,
    class_name:string,
    activity_id:int,
    activity_name:string,
    type_uid:bigint,
    time:bigint,
    severity_id:int,
    status_id:int,
    status:string,
    status_code:string,
    status_detail:string,
    message:string,
    duration:bigint,
    count:bigint,
    is_alert:boolean,
    metadata:struct<uid:string,correlation_uid:string,is_truncated:boolean>,
    src_endpoint:struct<ip:string,port:int>,
    dst_endpoint:struct<hostname:string,ip:string,port:int,svc_name:string>,
    http_request:struct<http_method:string,url:struct<hostname:string,port:int,path:string,query_string:string>,version:string,user_agent:string>,
    http_response:struct<code:int>,
    traffic:struct<bytes:bigint,bytes_in:bigint,bytes_out:bigint>,
    caller:struct<groups:array<string>,issuer:string,sub:string>,
    checkpoint:string,
    credential:struct<access_key_id:string,kind:string,presented:string,role_arn:string,session_name:string>,
    flow:struct<`end`:string,id:string,protocol:string,shadow:struct<evidence:string,kind:string>,tally:string>,
    lifecycle:struct<boot_id:string,bytes:bigint,catalogue:struct<definitions:array<struct<fingerprint:string,item:string,members:array<string>,name:string,server:string,was:string>>,endpoint:string>,check:string,config_digest:string,connections:bigint,cut_bytes:bigint,healthy:boolean,kind:string,login_uid:bigint,lost_records:bigint,open_calls:bigint,pid:bigint,policy_count:bigint,policy_version:string,reason:string,segments:bigint,since:bigint,takeover:boolean,through_hash:string,through_seq:bigint,uid:bigint,until:bigint,version:string>,
    login:struct<kind:string,login_uid:bigint,uid:bigint,until:bigint>,
    masked:map<string,bigint>,
    mcp:struct<call_id:string,duration_ms:bigint,edits:array<string>,endpoint:string,era:string,error:string,events:string,http_status:bigint,id:string,method:string,name:string,outcome:string,params:string,phase:string,protocol_version:string,result:string,session_id:string,since:bigint,trace_id:string>,
    payload_part:struct<call_id:string,field:string,hmac_sha256:string,of:string,part:bigint,parts:bigint,text:string>,
    reconciliation:string,
    signing_key:string,
    verdict:struct<action:string,approval_id:string,approver:string,policy:string,reason:string,version:string>,
    workload:struct<cgroup:string,cgroup_id:bigint,container:struct<id:string,image:string,name:string,runtime:string,task:struct<arn:string,cluster:string,family:string,revision:string>>,id:string,kind:string,name:string,pod:struct<labels:array<string>,name:string,namespace:string,owner:struct<kind:string,name:string>,service_account:string,uid:string>,process:struct<audit_session:bigint,comm:string,exe:string,pid:bigint,started_ns:bigint,uid:bigint>,spiffe_id:string,unit:string>>
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
  event struct<class_uid:int,
    class_name:string,
    activity_id:int,
    activity_name:string,
    type_uid:bigint,
    time:bigint,
    severity_id:int,
    status_id:int,
    status:string,
    status_code:string,
    status_detail:string,
    message:string,
    duration:bigint,
    count:bigint,
    is_alert:boolean,
    metadata:struct<uid:string,correlation_uid:string,is_truncated:boolean>,
    src_endpoint:struct<ip:string,port:int>,
    dst_endpoint:struct<hostname:string,ip:string,port:int,svc_name:string>,
    http_request:struct<http_method:string,url:struct<hostname:string,port:int,path:string,query_string:string>,version:string,user_agent:string>,
    http_response:struct<code:int>,
    traffic:struct<bytes:bigint,bytes_in:bigint,bytes_out:bigint>,
    caller:struct<groups:array<string>,issuer:string,sub:string>,
    checkpoint:string,
    credential:struct<access_key_id:string,kind:string,presented:string,role_arn:string,session_name:string>,
    flow:struct<`end`:string,id:string,protocol:string,shadow:struct<evidence:string,kind:string>,tally:string>,
    lifecycle:struct<boot_id:string,bytes:bigint,catalogue:struct<definitions:array<struct<fingerprint:string,item:string,members:array<string>,name:string,server:string,was:string>>,endpoint:string>,check:string,config_digest:string,connections:bigint,cut_bytes:bigint,healthy:boolean,kind:string,login_uid:bigint,lost_records:bigint,open_calls:bigint,pid:bigint,policy_count:bigint,policy_version:string,reason:string,segments:bigint,since:bigint,takeover:boolean,through_hash:string,through_seq:bigint,uid:bigint,until:bigint,version:string>,
    login:struct<kind:string,login_uid:bigint,uid:bigint,until:bigint>,
    masked:map<string,bigint>,
    mcp:struct<call_id:string,duration_ms:bigint,edits:array<string>,endpoint:string,era:string,error:string,events:string,http_status:bigint,id:string,method:string,name:string,outcome:string,params:string,phase:string,protocol_version:string,result:string,session_id:string,since:bigint,trace_id:string>,
    payload_part:struct<call_id:string,field:string,hmac_sha256:string,of:string,part:bigint,parts:bigint,text:string>,
    reconciliation:string,
    signing_key:string,
    verdict:struct<action:string,approval_id:string,approver:string,policy:string,reason:string,version:string>,
    workload:struct<cgroup:string,cgroup_id:bigint,container:struct<id:string,image:string,name:string,runtime:string,task:struct<arn:string,cluster:string,family:string,revision:string>>,id:string,kind:string,name:string,pod:struct<labels:array<string>,name:string,namespace:string,owner:struct<kind:string,name:string>,service_account:string,uid:string>,process:struct<audit_session:bigint,comm:string,exe:string,pid:bigint,started_ns:bigint,uid:bigint>,spiffe_id:string,unit:string>>
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
