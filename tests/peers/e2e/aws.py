"""AWS as moto emulates it, with a log of what it was asked. Runs with WEIR_READER.

usage: aws.py <port> <log> <keys> <says>

Each request becomes a line of `log`; keys that STS grants become lines of `keys`, for a server to verify with. What the file
`says` holds happens to STS instead of an answer: `denied`, `throttled` or `down`.
"""

import io
import json
import re
import sys
import urllib.parse

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, run_simple
from werkzeug.wrappers import Request, Response

PORT, LOG, KEYS, SAYS = int(sys.argv[1]), *sys.argv[2:5]
ERRORS = {"denied": (403, "AccessDenied"), "throttled": (400, "Throttling"), "down": (503, "ServiceUnavailable")}
moto = DomainDispatcherApplication(create_backend_app)


def said():
    try:
        with open(SAYS, encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


def app(environ, start_response):
    request = Request(environ)
    body = request.get_data(cache=True)
    form = dict(urllib.parse.parse_qsl(body.decode("utf-8", "replace")))
    with open(LOG, "a", encoding="utf-8") as log:
        target = request.headers.get("x-amz-target", "")
        log.write(json.dumps({"form": form, "target": target, "path": request.path}) + "\n")
    if form.get("Action", "").startswith("Assume") and said() in ERRORS:
        status, code = ERRORS[said()]
        text = f"<ErrorResponse><Error><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>"
        return Response(text, status, content_type="text/xml")(environ, start_response)
    environ["wsgi.input"] = io.BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    answer = Response.from_app(moto, environ)
    text = answer.get_data(as_text=True)
    granted = [re.search(f"<{name}>([^<]+)<", text) for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")]
    if all(granted):
        key_id, secret, token = (found.group(1) for found in granted)
        with open(KEYS, "a", encoding="utf-8") as keys:
            keys.write(json.dumps({"id": key_id, "secret": secret, "token": token}) + "\n")
    return answer(environ, start_response)


class Quiet(WSGIRequestHandler):
    def log(self, *_):
        pass


run_simple("127.0.0.1", PORT, app, threaded=True, request_handler=Quiet)
