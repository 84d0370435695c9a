"""Who on a host knows names: a kubelet's /pods behind TLS and a bearer token, an ECS agent's introspection, and IMDSv2.

usage: authority.py kubelet <port> <chain> <key> <token> <pods.json> <counts>
       authority.py instance <port>

Prints `ready`. The kubelet appends a line to <counts> for each list that it gives.
"""

import http.server
import json
import secrets
import ssl
import sys

TASKS = {
    "Tasks": [
        {
            "Arn": "arn:aws:ecs:eu-central-1:111122223333:task/main/0a1b2c3d4e5f60718293a4b5c6d7e8f9",
            "DesiredStatus": "RUNNING",
            "KnownStatus": "RUNNING",
            "Family": "agent",
            "Version": "7",
            "Containers": [{"DockerId": "e" * 64, "DockerName": "ecs-agent-7-app-fcae8ac8f9f1d89d8301", "Name": "app"}],
        }
    ]
}
IDENTITY = {
    "accountId": "111122223333",
    "architecture": "x86_64",
    "availabilityZone": "eu-central-1a",
    "billingProducts": None,
    "imageId": "ami-0a1b2c3d4e5f60718",
    "instanceId": "i-0a1b2c3d4e5f60718",
    "instanceType": "m7i.large",
    "pendingTime": "2026-06-02T08:00:00Z",
    "privateIp": "10.0.3.17",
    "region": "eu-central-1",
    "version": "2017-09-30",
}


class Answering(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body, headers=()):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Kubelet(Answering):
    def do_GET(self):
        _, _, _, _, _, token, pods, counts = sys.argv
        if self.headers.get("authorization") != f"Bearer {token}":
            return self.answer(401, b"Unauthorized")
        if self.path != "/pods":
            return self.answer(404, b"404 page not found")
        with open(counts, "a") as file:
            file.write("list\n")
        with open(pods, "rb") as file:
            self.answer(200, file.read(), [("content-type", "application/json")])


class Instance(Answering):
    token = secrets.token_urlsafe()

    def do_PUT(self):
        ttl = self.headers.get("x-aws-ec2-metadata-token-ttl-seconds")
        if self.path != "/latest/api/token" or not ttl:
            return self.answer(400, b"")
        self.answer(200, self.token.encode(), [("x-aws-ec2-metadata-token-ttl-seconds", ttl)])

    def do_GET(self):
        match self.path:
            case "/latest/dynamic/instance-identity/document":
                if self.headers.get("x-aws-ec2-metadata-token") != self.token:
                    return self.answer(401, b"")
                return self.answer(200, IDENTITY)
            case "/v1/metadata":
                return self.answer(200, {"Cluster": "main", "ContainerInstanceArn": None, "Version": "Amazon ECS Agent"})
            case "/v1/tasks":
                return self.answer(200, TASKS)
        self.answer(404, b"")


kind, port = sys.argv[1], int(sys.argv[2])
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Kubelet if kind == "kubelet" else Instance)
if kind == "kubelet":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[3], sys.argv[4])
    server.socket = context.wrap_socket(server.socket, server_side=True)
print("ready", flush=True)
server.serve_forever()
