"""Misuses the agent's login socket: one line of JSON for each answer.

usage: forge_login.py <socket>
"""

import json
import socket
import sys
import urllib.parse

REDIRECT = "http://127.0.0.1:4711/callback"


class Talk:
    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(sys.argv[1])
        self.file = self.socket.makefile("rw")

    def say(self, what):
        self.file.write(json.dumps(what) + "\n")
        self.file.flush()
        return json.loads(self.file.readline())


def state(opened):
    return urllib.parse.parse_qs(urllib.parse.urlparse(opened["open"]["url"]).query)["state"][0]


def back(query):
    return {"back": {"url": f"{REDIRECT}?{query}"}}


answers = []
talk = Talk()
talk.say({"browser": {"redirect": REDIRECT}})
answers.append(talk.say(back("code=x&state=guessed")))

talk = Talk()
opened = talk.say({"browser": {"redirect": REDIRECT}})
answers.append(talk.say(back(f"code=invented&state={state(opened)}")))

talk = Talk()
opened = talk.say({"browser": {"redirect": REDIRECT}})
answers.append(talk.say(back(f"error=access_denied&state={state(opened)}")))

answers.append(Talk().say({"browser": {"redirect": "https://evil.test/callback"}}))
answers.append(Talk().say(back("code=x&state=y")))
for answer in answers:
    print(json.dumps(answer))
