"""AWS as moto emulates it, with a log of what it was asked. Runs with WEIR_READER.

usage: aws.py <port> <log> <keys> <says>

Each request becomes a line of `log`; keys that STS grants become lines of `keys`, for a server to verify with. What the file
`says` holds happens to STS instead of an answer: `denied`, `throttled` or `down`; with `short:<seconds>` sessions last no longer.
"""

import datetime
import io
import json
import re
import sys
import threading
import urllib.parse

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, run_simple
from werkzeug.wrappers import Request, Response

PORT, LOG, KEYS, SAYS = int(sys.argv[1]), *sys.argv[2:5]
ERRORS = {"denied": (403, "AccessDenied"), "throttled": (400, "Throttling"), "down": (503, "ServiceUnavailable")}
moto = DomainDispatcherApplication(create_backend_app)
lock = threading.Lock()
under_way = 0


def said():
    try:
        with open(SAYS, encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


def app(environ, start_response):
    global under_way
    with lock:
        under_way += 1
    try:
        return answer(environ, start_response, under_way)
    finally:
        with lock:
            under_way -= 1


def shortened(text, seconds):
    """A session's answer, with an earlier end."""
    end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return re.sub("<Expiration>[^<]+<", f"<Expiration>{end:%Y-%m-%dT%H:%M:%S.%fZ}<", text), end.timestamp()


def answer(environ, start_response, at_once):
    request = Request(environ)
    body = request.get_data(cache=True)
    form = dict(urllib.parse.parse_qsl(body.decode("utf-8", "replace")))
    with open(LOG, "a", encoding="utf-8") as log:
        target = request.headers.get("x-amz-target", "")
        log.write(json.dumps({"form": form, "target": target, "path": request.path, "at_once": at_once}) + "\n")
    if form.get("Action", "").startswith("Assume") and said() in ERRORS:
        status, code = ERRORS[said()]
        text = f"<ErrorResponse><Error><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>"
        return Response(text, status, content_type="text/xml")(environ, start_response)
    environ["wsgi.input"] = io.BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    response = Response.from_app(moto, environ)
    text, until = response.get_data(as_text=True), None
    if said().startswith("short:") and "<Expiration>" in text:
        text, until = shortened(text, int(said().removeprefix("short:")))
        response.set_data(text)
    granted = [re.search(f"<{name}>([^<]+)<", text) for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")]
    if all(granted):
        key_id, secret, token = (found.group(1) for found in granted)
        with open(KEYS, "a", encoding="utf-8") as keys:
            keys.write(json.dumps({"id": key_id, "secret": secret, "token": token, "until": until}) + "\n")
    return response(environ, start_response)


class Quiet(WSGIRequestHandler):
    def log(self, *_):
        pass


run_simple("127.0.0.1", PORT, app, threaded=True, request_handler=Quiet)
