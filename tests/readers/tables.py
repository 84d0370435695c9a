#!/usr/bin/env python3
"""Reads a log as Athena would: delivers it as Firehose does, reads the files with the types of deploy/athena/schema.sql,
converts them to Parquet, and runs every query of deploy/athena/queries on them.

Usage: tables.py LOG_DIR DEPLOY_DIR WORK_DIR. Prints one JSON object. Needs the packages `duckdb` (the engine) and `sqlglot`
(from Athena's dialect to the engine's). Firehose and Athena themselves are not run.
"""

import datetime
import gzip
import json
import pathlib
import random
import re
import shutil
import sys

import duckdb
import sqlglot
from sqlglot import exp


def lines_of(log):
    segments = sorted(log.glob("segment-*.ndjson"))
    return [line for segment in segments for line in segment.read_bytes().splitlines(keepends=True)]


def deliver(lines, directory, chance):
    """Writes files as Firehose does: out of order, some records twice, several lines to a Kinesis record, gzip."""
    records = [b"".join(lines[start : start + 3]) for start in range(0, len(lines), 3)]
    records += chance.sample(records, len(records) // 4)
    chance.shuffle(records)
    day = directory / f"day={datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
    day.mkdir(parents=True)
    for number in range(4):
        # A delivered object can hold several gzip members.
        members = [gzip.compress(record) for record in records[number::4]]
        (day / f"weir-audit-{number}.gz").write_bytes(b"".join(members))
    return day


def tables(schema):
    """The columns of each CREATE TABLE, as the engine's types."""
    found = {}
    for statement in sqlglot.parse(schema, read="athena"):
        columns = statement.find(exp.Schema).expressions
        columns = [column for column in columns if isinstance(column, exp.ColumnDef)]
        found[statement.find(exp.Table).name] = {column.name: column.kind for column in columns}
    return found


def check_columns(found, stated):
    """columns.json, which Terraform reads, says what the DDL says."""
    for name, columns in found.items():
        types = {column: re.sub("[` ]", "", kind.sql("hive")).lower() for column, kind in columns.items()}
        stated_types = {
            column["name"]: re.sub("[` ]", "", sqlglot.parse_one(column["type"], into=exp.DataType, read="hive").sql("hive"))
            .lower() for column in stated
        }
        assert types == stated_types, f"{name} differs from columns.json"


def fields(kind):
    """The fields of a struct type, by name; None for other types."""
    if not kind.is_type(exp.DataType.Type.STRUCT):
        return None
    return {field.name: field.kind for field in kind.expressions}


def missing(schema_dir, event):
    """Attributes of our own OCSF objects that the table has no field for."""
    objects = {json.loads(path.read_text())["name"]: json.loads(path.read_text()) for path in (schema_dir / "objects").glob("*.json")}
    dictionary = json.loads((schema_dir / "dictionary.json").read_text())["attributes"]
    profile = json.loads((schema_dir / "profiles/weir.json").read_text())["attributes"]

    def look(attributes, kind, path):
        known = fields(kind)
        if known is None:
            return
        for name, stated in attributes.items():
            stated = {**dictionary.get(name, {}), **stated}
            if name not in known:
                yield f"{path}.{name}"
            elif stated.get("type") in objects:
                yield from look(objects[stated["type"]]["attributes"], known[name], f"{path}.{name}")

    return sorted(look(profile, event, "event"))


def main():
    log, deploy, work = map(pathlib.Path, sys.argv[1:])
    shutil.rmtree(work, ignore_errors=True)
    chance = random.Random(7)
    lines = lines_of(log)
    found = tables((deploy / "athena/schema.sql").read_text())
    check_columns(found, json.loads((deploy / "athena/columns.json").read_text()))
    types = {name: kind.sql("duckdb") for name, kind in found["records_raw"].items() if name != "day"}

    engine = duckdb.connect()
    # What Athena does with an instant: as UTC.
    engine.execute("SET TimeZone = 'UTC'")
    raw = deliver(lines, work / "raw", chance)
    engine.execute(
        "CREATE VIEW records_raw AS SELECT * FROM read_json($files, format = 'newline_delimited', compression = 'gzip',"
        " columns = $columns, hive_partitioning = true, hive_types = {'day': 'VARCHAR'})".replace(
            "$files", f"'{raw.parent}/*/*.gz'").replace("$columns", duckdb_struct(types)))
    converted = work / "records" / raw.name
    converted.mkdir(parents=True)
    engine.execute(f"COPY (SELECT * EXCLUDE day FROM records_raw) TO '{converted}/part.parquet' (FORMAT parquet)")
    engine.execute(
        f"CREATE VIEW records AS SELECT * FROM read_parquet('{work}/records/*/*.parquet', hive_partitioning = true,"
        " hive_types = {'day': 'VARCHAR'})")

    values = {}
    for table in ("records_raw", "records"):
        rows = engine.execute(
            f"SELECT DISTINCT log, epoch, seq, prev, hash, event.class_uid, event.time, event.mcp.call_id,"
            f" event.mcp.params, event.workload.id, event.flow.\"end\", event.lifecycle.kind FROM {table} ORDER BY seq, hash").fetchall()
        values[table] = rows
    expected = []
    for line in lines:
        record = json.loads(line)
        event = record["event"]
        part = lambda *path: dig(event, path)
        expected.append((
            *(record[key] for key in ("log", "epoch", "seq", "prev", "hash")), event["class_uid"], event["time"],
            part("mcp", "call_id"), part("mcp", "params"), part("workload", "id"), part("flow", "end"), part("lifecycle", "kind")))
    expected.sort(key=lambda row: (row[2], row[4]))
    for table, rows in values.items():
        assert len(rows) == len(expected), f"{table}: {len(rows)} records of {len(expected)}"
        for row, wanted in zip(rows, expected):
            row = tuple(json.loads(value) if index == 8 and value else value for index, value in enumerate(row))
            assert row == wanted, f"{table}: {row} instead of {wanted}"

    answers = {}
    for path in sorted((deploy / "athena/queries").glob("*.sql")):
        query = path.read_text()
        assert re.match(r"-- [A-Z].*: .*", query), f"{path.name} does not begin with its name and what it answers"
        [translated] = sqlglot.transpile(query, read="athena", write="duckdb")
        rows = engine.execute(f"SELECT to_json(answer) FROM ({translated}) AS answer").fetchall()
        answers[path.stem] = [json.loads(row) for [row] in rows]
    missing_fields = missing(deploy / "ocsf", found["records"]["event"])
    print(json.dumps({"records": len(lines), "missing_fields": missing_fields, "answers": answers}))


def dig(value, path):
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def duckdb_struct(types):
    return "{" + ", ".join(f"'{name}': '{kind}'" for name, kind in types.items()) + "}"


if __name__ == "__main__":
    main()
