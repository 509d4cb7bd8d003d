"""Checks ECS records, one JSON object a line on the standard input, against the published fields:
the type definitions in the npm package @elastic/ecs, whose folder is the first argument. Every
field must be there with its type; what stands under `tidegate` is ours. Prints what does not hold;
fails if anything does not."""

import json
import pathlib
import re
import sys

# What ECS allows for the fields that categorise (its documentation lists them; the package's type
# definitions do not).
ALLOWED = {
    "event.kind": {"alert", "asset", "enrichment", "event", "metric", "state", "signal"},
    "event.outcome": {"failure", "success", "unknown"},
}

# The types that ECS expects with each category.
TYPES = {
    "authentication": {"end", "info", "start"},
    "configuration": {"access", "change", "creation", "deletion", "info"},
    "host": {"access", "change", "end", "info", "start"},
    "iam": {"admin", "change", "creation", "deletion", "group", "info", "user"},
    "intrusion_detection": {"allowed", "denied", "info"},
    "network": {"access", "allowed", "connection", "denied", "end", "info", "protocol", "start"},
    "process": {"access", "change", "end", "info", "start"},
    "web": {"access", "error", "info"},
}

MEMBER = re.compile(r"^\s*'?([@\w]+)'?\??:\s*(.+?);?\s*$")


def fields(folder):
    """The published fields by their path, each with its TypeScript type."""
    generated = pathlib.Path(folder) / "generated"
    known = {}
    for file in generated.glob("*.ts"):
        if file.stem == "index":
            continue
        text = re.sub(r"/\*.*?\*/", "", file.read_text(), flags=re.DOTALL)
        # The set's name is how it is nested; base fields and those of tracing stand at the top.
        path = [] if file.stem in ("base", "tracing") else [file.stem]
        for line in text.splitlines():
            if line.startswith("export interface"):
                continue
            if line.strip().startswith("}"):
                path = path[:-1]
                continue
            member = MEMBER.match(line)
            if not member:
                continue
            name, kind = member.groups()
            if kind == "{":
                path = path + [name]
            else:
                known[".".join(path + [name])] = kind
    return known


def fits(kind, value):
    if kind.startswith("Record<"):
        return isinstance(value, dict)
    if kind.startswith("'"):
        return value == kind.strip("'")
    items = value if "Array" in kind and isinstance(value, list) else [value]
    if kind.startswith("string"):
        return all(isinstance(item, str) for item in items)
    if kind.startswith("number"):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return kind == "boolean" and isinstance(value, bool)


def check(known, value, path=""):
    kind = known.get(path)
    if path == "tidegate":
        return
    if kind is not None:
        if not fits(kind, value):
            yield f"{path}: {value!r} is not {kind}"
        elif path in ALLOWED and value not in ALLOWED[path]:
            yield f"{path}: {value!r} is not allowed"
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from check(known, inner, f"{path}.{name}" if path else name)
    else:
        yield f"{path} is no field of ECS"


def misplaced(event):
    """Categories that ECS does not have, and types that none of the categories expects."""
    expected = set()
    for category in event["category"]:
        if category not in TYPES:
            yield f"event.category: {category} is not allowed"
        expected |= TYPES.get(category, set())
    for kind in event["type"]:
        if kind not in expected:
            yield f"event.type: {kind} is not expected with {event['category']}"


def main():
    known = fields(sys.argv[1])
    assert len(known) > 500, f"only {len(known)} fields are read from the package"
    held, broken = 0, 0
    for line in sys.stdin:
        record = json.loads(line)
        errors = [*check(known, record), *misplaced(record["event"])]
        held += not errors
        broken += bool(errors)
        for error in errors[:5]:
            print(f"{error}: {line[:200]}")
    print(json.dumps({"held": held, "broken": broken, "fields": len(known)}))
    sys.exit(1 if broken or not held else 0)


main()
