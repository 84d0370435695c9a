#!/usr/bin/env python3
"""Writes schema.sql and columns.json: run it after a change of ../ocsf. Standard library only.

Our own objects come from the OCSF extension, OCSF's from the list here. Payloads and signed statements become text: their form
is the peers' own, or more than a query asks for.
"""

import json
import pathlib

HERE = pathlib.Path(__file__).parent
OCSF = HERE.parent / "ocsf"

LINE = {"log": "string", "epoch": "bigint", "seq": "bigint", "prev": "string", "hash": "string"}
CORE = """
class_uid:int class_name:string activity_id:int activity_name:string type_uid:bigint time:bigint severity_id:int status_id:int
status:string status_code:string status_detail:string message:string duration:bigint count:bigint is_alert:boolean
metadata:struct<uid:string,correlation_uid:string,is_truncated:boolean>
src_endpoint:struct<ip:string,port:int>
dst_endpoint:struct<hostname:string,ip:string,port:int,svc_name:string>
http_request:struct<http_method:string,url:struct<hostname:string,port:int,path:string,query_string:string>,version:string,user_agent:string>
http_response:struct<code:int>
traffic:struct<bytes:bigint,bytes_in:bigint,bytes_out:bigint>
"""
# Fields of the records' contract that the extension does not have yet.
TO_COME = {
    "verdict.approval_id": "string",
    "verdict.approver": "string",
    "flow.shadow": "struct<kind:string,evidence:string>",
}
TYPES = {"boolean_t": "boolean", "integer_t": "bigint", "long_t": "bigint", "port_t": "int", "timestamp_t": "bigint"}
TEXT = {"checkpoint", "signing_key", "reconciliation", "stream_events"}
# Of OCSF's free objects: this one counts by rule.
COUNTS = {"masked"}
TABLES = [
    ("records_raw", "EVIDENCE-BUCKET/raw", "ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'\n"
     "WITH SERDEPROPERTIES ('case.insensitive' = 'false')"),
    ("records", "TABLES-BUCKET/records", "STORED AS PARQUET"),
]
HEADING = """\
-- The tables of Weir's records, for Athena, written by make.py. `records_raw` reads the lines as they are, `records` the Parquet
-- files that Firehose converts. Terraform (../terraform) makes both, from `columns.json`.
--
-- Payloads (`params`, `result`, `error`, `id`, `events`) and signed statements are text: read them with json_extract. JSON keys
-- are taken as they stand (case.insensitive = false): a payload may have keys that differ by case alone.
"""


def load(path):
    return json.loads(path.read_text())


def hive(name, stated, objects, path):
    kind = stated.get("type", "string_t")
    if name in COUNTS:
        text = "map<string,bigint>"
    elif kind in objects and kind not in TEXT:
        text = struct(objects[kind]["attributes"], objects, path)
    else:
        text = TYPES.get(kind, "string")
    return f"array<{text}>" if stated.get("is_array") else text


def struct(attributes, objects, path):
    fields = {name: hive(name, stated, objects, f"{path}{name}.") for name, stated in attributes.items()}
    to_come = {key[len(path):]: kind for key, kind in TO_COME.items() if key.startswith(path) and "." not in key[len(path):]}
    fields = {**to_come, **fields}
    return "struct<" + ",".join(f"{name}:{kind}" for name, kind in sorted(fields.items())) + ">"


def columns():
    objects = {found["name"]: found for found in map(load, sorted((OCSF / "objects").glob("*.json")))}
    dictionary = load(OCSF / "dictionary.json")["attributes"]
    profile = load(OCSF / "profiles/weir.json")["attributes"]
    ours = struct({name: {**dictionary[name], **stated} for name, stated in profile.items()}, objects, "")
    event = "struct<" + ",".join(CORE.split()) + "," + ours.removeprefix("struct<")
    return {**LINE, "event": event}


def quoted(kind):
    """`end` is a word of the language; line breaks are for people."""
    depth, out = 0, ""
    for char in kind.replace("end:", "`end`:"):
        depth += {"<": 1, ">": -1}.get(char, 0)
        out += ",\n    " if char == "," and depth == 1 else char
    return out


def table(name, place, form, every):
    listed = ",\n".join(f"  {column} {quoted(kind)}" for column, kind in every.items())
    return f"""
CREATE EXTERNAL TABLE {name} (
{listed}
)
PARTITIONED BY (day string)
{form}
LOCATION 's3://{place}/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.day.type' = 'date',
  'projection.day.format' = 'yyyy-MM-dd',
  'projection.day.range' = '2026-01-01,NOW',
  'storage.location.template' = 's3://{place}/day=${{day}}/'
);
"""


def main():
    every = columns()
    listed = [{"name": name, "type": kind} for name, kind in every.items()]
    (HERE / "columns.json").write_text(json.dumps(listed, indent=2) + "\n")
    (HERE / "schema.sql").write_text(HEADING + "".join(table(*one, every) for one in TABLES))


if __name__ == "__main__":
    main()
