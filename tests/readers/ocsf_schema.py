#!/usr/bin/env python3
"""Validates events against the newest packaged OCSF schema with our extension added to it.

Usage: ocsf_schema.py EXTENSION_DIR < events.ndjson. Prints {"line": N, "errors": [...]} for each event that is not valid; exit 0
when it could check them all. Needs the packages `ocsf-json-schema` (the schema, as its authors published it) and
`jsonschema` (the validator).
"""

import json
import pathlib
import sys

from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema, get_packaged_versions


def newest():
    released = [version for version in get_packaged_versions() if "-" not in version]
    return max(released, key=lambda version: [int(part) for part in version.split(".")])


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def extend(schema, directory):
    """Adds the extension as an OCSF server does: dictionary, objects, and a profile on existing classes."""
    name = load(directory / "extension.json")["name"]
    core = schema["dictionary"]
    dictionary = {**core["attributes"], **load(directory / "dictionary.json")["attributes"]}

    def attribute(key, stated, profile=None):
        merged = {**dictionary.get(key, {}), **stated}
        if merged["type"] not in core["types"]["attributes"] and merged["type"] != "object_t":
            merged |= {"type": "object_t", "object_type": merged["type"]}
        return {**merged, "profiles": [profile] if profile else None}

    for path in (directory / "objects").iterdir():
        stated = load(path)
        assert stated["name"] not in schema["objects"], f"{path}: OCSF has an object of this name"
        attributes = {key: attribute(key, value) for key, value in stated["attributes"].items()}
        schema["objects"][stated["name"]] = {**stated, "attributes": attributes}
    for path in (directory / "events").rglob("*.json"):
        patch = load(path)
        for include in patch["attributes"]["$include"]:
            profile = load(directory / include)
            qualified = f"{name}/{profile['name']}"
            assert qualified in patch["profiles"], f"{path}: profile {qualified} is not listed"
            for key, value in profile["attributes"].items():
                target = schema["classes"][patch["extends"]]["attributes"]
                assert key not in target, f"{path}: OCSF has an attribute {key} here"
                target[key] = attribute(key, value, qualified)


def captions(attributes, event):
    """What is wrong with the names that go with numbers: OCSF wants the number's caption, and of 99 the source's own."""
    for key, stated in attributes.items():
        meaning = stated.get("enum", {}).get(str(event.get(key)))
        name = event.get(stated.get("sibling"))
        if meaning and name is not None and event[key] != 99 and name != meaning["caption"]:
            yield f"$.{stated['sibling']}: {name!r} is not {meaning['caption']!r}, the caption of {key} {event[key]}"


def main():
    schema = get_ocsf_schema(newest())
    extend(schema, pathlib.Path(sys.argv[1]))
    generator = OcsfJsonSchemaEmbedded(schema)
    validators = {}
    for number, line in enumerate(sys.stdin, 1):
        event = json.loads(line)
        key = (event["class_uid"], *event["metadata"]["profiles"])
        name = generator.lookup_class_name_from_uid(event["class_uid"])
        if key not in validators:
            validators[key] = Draft202012Validator(generator.get_class_schema(name, list(key[1:])))
        errors = [f"{error.json_path}: {error.message}" for error in validators[key].iter_errors(event)]
        errors += captions(schema["classes"][name]["attributes"], event)
        if event["type_uid"] != event["class_uid"] * 100 + event["activity_id"]:
            errors.append("type_uid is not class_uid * 100 + activity_id")
        if errors:
            print(json.dumps({"line": number, "errors": errors}))


if __name__ == "__main__":
    main()
