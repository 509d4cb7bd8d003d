"""Validates OCSF records, one JSON object a line on the standard input, against the schema that
the PyPI package ocsf-json-schema brings. Prints every record that does not hold, and how many of
which class do; fails if one does not."""

import collections
import json
import sys

from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

schemas = {}
validators = {}


def validator(record):
    version = record["metadata"]["version"]
    profiles = tuple(sorted(record["metadata"].get("profiles", [])))
    key = (version, record["class_uid"], profiles)
    if key not in validators:
        if version not in schemas:
            schemas[version] = OcsfJsonSchemaEmbedded(get_ocsf_schema(version=version))
        name = schemas[version].lookup_class_name_from_uid(record["class_uid"])
        schema = schemas[version].get_class_schema(name, list(profiles))
        validators[key] = (name, Draft202012Validator(schema))
    return validators[key]


def main():
    held, broken = collections.Counter(), 0
    for line in sys.stdin:
        record = json.loads(line)
        name, checks = validator(record)
        errors = list(checks.iter_errors(record))
        if record["type_uid"] != record["class_uid"] * 100 + record["activity_id"]:
            errors.append("type_uid is not class_uid * 100 + activity_id")
        if not errors:
            held[name] += 1
            continue
        broken += 1
        for error in errors[:5]:
            where = ".".join(map(str, getattr(error, "absolute_path", [])))
            print(f"{name}: {where}: {getattr(error, 'message', error)[:300]}: {line[:300]}")
    print(json.dumps({"held": held, "broken": broken}))
    sys.exit(1 if broken or not held else 0)


main()
