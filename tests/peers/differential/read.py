"""Reads JSON-RPC bodies, in base64 line by line, the ways that Python servers and case-folding decoders read them.

Writes a line for each: one object by parser, `null` where it takes nothing.
"""

import base64
import json
import sys

import pydantic_core

from canonical import told


def folding(pairs):
    """As Go's encoding/json fills a struct: the last member whose name matches, whatever its case."""
    known = {"jsonrpc", "id", "method", "params", "name", "arguments", "uri", "_meta", "ref", "type"}
    members = {}
    for key, value in pairs:
        folded = key.casefold().replace("\u017f", "s").replace("\u212a", "k")
        members[folded if folded in known else key] = value
    return members


def standard(body):
    return json.loads(body)


class Pairs(list):
    """The members of an object, in order."""


def plain(value):
    if isinstance(value, Pairs):
        return {key: plain(element) for key, element in value}
    if isinstance(value, dict):
        return {key: plain(element) for key, element in value.items()}
    return [plain(element) for element in value] if isinstance(value, list) else value


def folded(body):
    # Only the envelope, `params` and its `ref` are structs in Go; what is below is a map, which keeps its keys.
    message = json.loads(body, object_pairs_hook=Pairs)
    if not isinstance(message, Pairs):
        return plain(message)
    message = folding(message)
    params = message.get("params")
    if isinstance(params, Pairs):
        message["params"] = params = folding(params)
        if isinstance(params.get("ref"), Pairs):
            params["ref"] = folding(params["ref"])
    return plain(message)


def pydantic(body):
    return pydantic_core.from_json(body)


def read(parser, body):
    try:
        return told(parser(body))
    except Exception:
        return None


for line in sys.stdin:
    body = base64.b64decode(line)
    print(json.dumps({parser.__name__: read(parser, body) for parser in (standard, folded, pydantic)}), flush=True)
