"""AWS as moto emulates it, with a log of what it was asked. Runs with WEIR_READER.

usage: aws.py <port> <log> <keys> <says> <key id> <secret> <role>

Each request becomes a line of `log`; keys that STS grants become lines of `keys`, for a server to verify with. What the file
`says` holds happens to STS instead of an answer: `denied`, `throttled` or `down`; with `short:<seconds>` sessions last no longer.
STS demands what AWS's does: the role must be there, and a request to assume it be signed with the key of the one user.
"""

import datetime
import io
import json
import re
import sys
import threading
import urllib.parse

from moto.iam.access_control import IAMRequest
from moto.iam.exceptions import NotFoundException
from moto.iam.models import iam_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.exceptions import HTTPException
from werkzeug.serving import WSGIRequestHandler, run_simple
from werkzeug.wrappers import Request, Response

PORT, LOG, KEYS, SAYS, KEY_ID, SECRET, ROLE = int(sys.argv[1]), *sys.argv[2:8]
USERS, EVERYTHING = "123456789012", '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'
ERRORS = {"denied": (403, "AccessDenied"), "throttled": (400, "Throttling"), "down": (503, "ServiceUnavailable")}
moto = DomainDispatcherApplication(create_backend_app)
lock = threading.Lock()
under_way = 0


def found():
    """An account with the user, whose key is given, and another with the role."""
    users, roles = iam_backends[USERS]["aws"], iam_backends[account_of(ROLE)]["aws"]
    users.create_user("us-east-1", "weir")
    users.put_user_policy("weir", "all", EVERYTHING)
    key = users.create_access_key("weir")
    key.access_key_id, key.secret_access_key = KEY_ID, SECRET
    roles.create_role(ROLE.rsplit("/")[-1], EVERYTHING, "/", None, "", [], None)


def account_of(arn):
    return arn.split(":")[4]


def trouble(request, form, body):
    """Why STS says no, in its words: for a role that is not there, the same as for one that trusts somebody else."""
    action, role = form["Action"], form.get("RoleArn", "")
    try:
        iam_backends[account_of(role)]["aws"].get_role_by_arn(role)
    except NotFoundException:
        return 403, "AccessDenied"
    if action != "AssumeRole":
        return None
    headers = dict(request.headers)
    if "Authorization" not in headers:
        return 403, "MissingAuthenticationToken"
    try:
        check = IAMRequest(USERS, request.method, request.url, form, body, headers, action)
        check.check_signature()
        check.check_action_permitted(role)
    except HTTPException as error:
        return error.code, error.error_type
    return None


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
    no = (ERRORS.get(said()) or trouble(request, form, body)) if form.get("Action", "").startswith("Assume") else None
    if no:
        status, code = no
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


found()


class Quiet(WSGIRequestHandler):
    def log(self, *_):
        pass


run_simple("127.0.0.1", PORT, app, threaded=True, request_handler=Quiet)
