#!/usr/bin/env python3
"""Checks deploy/terraform as far as that goes without a provider: it parses, what it refers to is declared, templates get what
they use, and the rendered IAM policies have nothing that parliament objects to. Of policies of resources, which parliament does not
know, it checks what is known to go wrong.

Usage: terraform.py TERRAFORM_DIR. Prints one JSON object: {"files": N, "policies": N, "errors": […]}. Needs `python-hcl2` and
`parliament`.
"""

import collections
import json
import pathlib
import re
import sys
import warnings

warnings.filterwarnings("ignore")
import hcl2  # noqa: E402
import parliament  # noqa: E402

ARNS = {
    "stream_arn": "arn:aws:kinesis:us-east-1:111122223333:stream/weir-audit",
    "key_arn": "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
    "evidence_arn": "arn:aws:s3:::weir-audit-evidence",
    "tables_arn": "arn:aws:s3:::weir-audit-tables",
    "bucket_arn": "arn:aws:s3:::weir-audit-evidence",
    "catalog_arn": "arn:aws:glue:us-east-1:111122223333:catalog",
    "database_arn": "arn:aws:glue:us-east-1:111122223333:database/weir_audit",
    "table_arn": "arn:aws:glue:us-east-1:111122223333:table/weir_audit/records",
    "log_group_arn": "arn:aws:logs:us-east-1:111122223333:log-group:/aws/weir",
    "bus_arn": "arn:aws:events:us-east-1:111122223333:event-bus/default",
    "topic_arn": "arn:aws:sns:us-east-1:111122223333:weir-audit-alarms",
    "account_root": "arn:aws:iam::111122223333:root",
    "account_id": "111122223333",
    "service": "lambda.amazonaws.com",
}
USED = re.compile(r"\$\{(\w+)\}")
TEMPLATE = re.compile(r'templatefile\("\$\{var\.policies\}/(\w+\.json)", \{(.*?)\}\)', re.DOTALL)
REFERENCE = re.compile(r"\b((?:data\.)?aws_\w+|data\.archive_file|var|local|module)\.(\w+)")


def bare(name):
    return name.strip('"')


def declared(module):
    """What a module declares, as references would name it; and its calls of other modules."""
    names, calls = set(), []
    for path in sorted(module.glob("*.tf")):
        parsed = hcl2.loads(path.read_text())
        names |= {f"var.{bare(name)}" for block in parsed.get("variable", []) for name in block}
        names |= {f"local.{bare(name)}" for block in parsed.get("locals", []) for name in block if not name.startswith("__")}
        for prefix, key in (("", "resource"), ("data.", "data")):
            names |= {f"{prefix}{bare(kind)}.{bare(name)}" for block in parsed.get(key, []) for kind in block for name in block[kind]}
        for block in parsed.get("module", []):
            for name, body in block.items():
                names.add(f"module.{bare(name)}")
                calls.append((bare(body["source"]), {bare(key) for key in body if not key.startswith("__")} - {"source"}))
    return names, calls


def code_of(text):
    """Without comments and without what stands in plain text between quotes."""
    text = re.sub(r"(?m)^\s*#.*$", "", text)
    return re.sub(r'"(?:[^"\\$]|\\.)*"', '""', text)


def check_module(module, policies, errors):
    names, calls = declared(module)
    for path in sorted(module.glob("*.tf")):
        text = path.read_text()
        for kind, name in REFERENCE.findall(code_of(text)):
            if f"{kind}.{name}" not in names:
                errors.append(f"{path.name} in {module.name} refers to {kind}.{name}, which is not declared")
        for template, given in TEMPLATE.findall(text):
            given = set(re.findall(r"(\w+)\s*=", given))
            wanted = set(USED.findall((policies / template).read_text()))
            if given != wanted:
                errors.append(f"{path.name} gives {template} {sorted(given)}, and it uses {sorted(wanted)}")
    for source, given in calls:
        wanted = {name[4:] for name in declared(module / source)[0] if name.startswith("var.")}
        if given != wanted:
            errors.append(f"{source} is given {sorted(given)}, and declares {sorted(wanted)}")
        outputs = "".join(path.read_text() for path in (module / source).glob("*.tf"))
        for name in set(re.findall(rf"module\.{pathlib.Path(source).name}\.(\w+)", "".join(p.read_text() for p in module.glob("*.tf")))):
            if f'output "{name}"' not in outputs:
                errors.append(f"module {source} has no output {name}")


def listed(value):
    return value if isinstance(value, list) else [value]


def check_resource_statement(name, statement, errors):
    """One statement of a resource's policy: parliament knows policies of identities only."""
    where = f"{name}: {statement.get('Sid')}"
    unknown = set(statement) - {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}
    if unknown or "Principal" not in statement or "Action" not in statement:
        errors.append(f"{where} has {sorted(unknown)} or lacks Principal or Action")
        return
    principal, actions = statement["Principal"], listed(statement["Action"])
    keys = {key for operator in statement.get("Condition", {}).values() for key in operator}
    services = listed(principal.get("Service", [])) if isinstance(principal, dict) else []
    if statement["Effect"] == "Allow" and principal in ("*", {"AWS": "*"}):
        errors.append(f"{where} allows everybody")
    if services and any("*" in action for action in actions):
        errors.append(f"{where} is not least privilege")
    # A service acts for whoever asks it to. A role is assumed by name, and its policy says what for.
    if services and not keys and actions != ["sts:AssumeRole"]:
        errors.append(f"{where} lets {services} in for any account")
    # Amazon SNS Developer Guide, "Key management": not supported from EventBridge to encrypted topics.
    uses_key = any(action.startswith("kms:") for action in actions)
    if uses_key and "events.amazonaws.com" in services and keys & {"aws:SourceAccount", "aws:SourceArn", "aws:SourceOrgID"}:
        errors.append(f"{where} keeps EventBridge from the key: it does not say for whom it publishes")


def check_policy(path, errors):
    rendered = USED.sub(lambda match: ARNS[match[1]], path.read_text())
    policy = json.loads(rendered)
    if any("Principal" in statement for statement in policy["Statement"]):
        for statement in policy["Statement"]:
            check_resource_statement(path.name, statement, errors)
        return
    for finding in parliament.analyze_policy_string(rendered).findings:
        errors.append(f"{path.name}: {finding.issue}: {finding.detail}")
    for statement in policy["Statement"]:
        if any("*" in action for action in listed(statement["Action"])) or statement["Resource"] == "*":
            errors.append(f"{path.name}: {statement.get('Sid')} is not least privilege")


def main():
    root, errors = pathlib.Path(sys.argv[1]), []
    modules = [root, *(path for path in sorted(root.iterdir()) if path.is_dir() and list(path.glob("*.tf")))]
    for module in modules:
        check_module(module, root / "policies", errors)
    policies = sorted((root / "policies").glob("*.json"))
    used = collections.Counter(name for module in modules for path in module.glob("*.tf") for name, _ in TEMPLATE.findall(path.read_text()))
    for policy in policies:
        check_policy(policy, errors)
        if not used[policy.name]:
            errors.append(f"{policy.name} is used by nothing")
    files = sum(len(list(module.glob("*.tf"))) for module in modules)
    print(json.dumps({"files": files, "policies": len(policies), "errors": errors}))


if __name__ == "__main__":
    main()
