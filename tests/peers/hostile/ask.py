"""An ordinary HTTPS client on Python's own ssl: posts one message and says, in one JSON line, how it went.

usage: ask.py <host> <port> <cafile>
"""

import http.client
import json
import socket
import ssl
import sys

host, port, cafile = sys.argv[1], int(sys.argv[2]), sys.argv[3]
message = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"})


def ask():
    context = ssl.create_default_context(cafile=cafile)
    context.set_alpn_protocols(["http/1.1"])
    try:
        raw = socket.create_connection((host, port), timeout=20)
    except OSError as error:
        return {"kind": "connect", "what": str(error)}
    try:
        tls = context.wrap_socket(raw, server_hostname=host)
    except ssl.SSLError as error:
        return {"kind": "tls", "what": error.reason or str(error)}
    except OSError as error:
        return {"kind": "connection", "what": str(error)}
    connection = http.client.HTTPConnection(host, port)
    connection.sock = tls
    try:
        connection.request("POST", "/mcp", message, {"content-type": "application/json"})
        response = connection.getresponse()
        return {"kind": "http", "status": response.status, "what": response.read().decode("utf-8", "replace")}
    except (OSError, http.client.HTTPException) as error:
        return {"kind": "connection", "what": f"{type(error).__name__}: {error}"}


print(json.dumps(ask()))
