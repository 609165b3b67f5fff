"""Just enough of an API server for the client: sessions, Secrets, Events and watches, from dictionaries."""

import copy
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote

import yaml

SESSIONS = "/apis/sandboxsessions.dev/v1alpha1/namespaces/team/sandboxsessions"


class ApiServer(ThreadingHTTPServer):
    """The server.

    Attributes:
        sessions: The sessions by name.
        secrets: The data of Secrets by name. None: the answer is no JSON.
        owners: The uids of the sessions that own each Secret. Empty: all sessions do.
        events: The Events of the namespace. None: the account may not read them.
        watch_events: What each watch of sessions answers.
        watches_last: A watch without events lasts as long as the client asked for, as a real one does.
        operator: Called with a session after each write.
        refusal: Status and message of the answer to each request.
        writes: Method, name and query of each write.
        skew: Seconds by which the server's clock is ahead.
        logs: The chunks of each container's log. They are sent as they come, if the request follows the log.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.sessions: dict[str, dict[str, Any]] = {}
        self.secrets: dict[str, Any] = {}
        self.owners: list[str] = []
        self.events: list[dict[str, Any]] | None = []
        self.watch_events: list[dict[str, Any]] = []
        self.watches_last = False
        self.operator = lambda _session: None
        self.reads: list[str] = []
        self.writes: list[tuple[str, str, dict[str, list[str]]]] = []
        self.credentials: set[str | None] = set()
        self.refusal: tuple[int, str | None] | None = None
        self.skew = 0.0
        self.logs: dict[str, Any] = {}

    def write_kubeconfig(self, folder):
        """Write a kubeconfig for this server, with the namespace `team`. Return its path."""
        config = {
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.server_port}"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "team"}}],
            "users": [{"name": "u", "user": {}}],
            "current-context": "x",
        }
        path = folder / "kubeconfig"
        path.write_text(yaml.safe_dump(config))
        return str(path)


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def date_time_string(self, timestamp=None):
        return super().date_time_string((timestamp or time.time()) + self.server.skew)

    def answer(self, status, value):
        body = b"".join(json.dumps(each).encode() + b"\n" for each in (value if isinstance(value, list) else [value]))
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def failure(self, status, message):
        self.answer(status, {"kind": "Status", "message": message, "code": status})

    def split(self):
        path, _, query = self.path.partition("?")
        return path, path.rsplit("/", 1)[-1], parse_qs(query)

    def do_GET(self):
        path, name, query = self.split()
        self.server.reads.append(path)
        self.server.credentials.add(self.headers["Authorization"])
        if self.server.refusal:
            self.answer(404, "404 page not found")
        elif path == SESSIONS and "watch" in query:
            if not self.server.watch_events:
                time.sleep(int(query["timeoutSeconds"][0]) if self.server.watches_last else 0.1)
            self.answer(200, self.server.watch_events)
        elif path == SESSIONS:
            wanted = [pair.split("=") for pair in query.get("labelSelector", [""])[0].split(",") if pair]
            found = [
                session
                for session in self.server.sessions.values()
                if all(session["metadata"].get("labels", {}).get(key) == value for key, value in wanted)
            ]
            self.answer(200, {"items": found})
        elif path.startswith(SESSIONS) and name in self.server.sessions:
            self.answer(200, self.server.sessions[name])
        elif path.endswith("/events"):
            self.answer_events(unquote(query["fieldSelector"][0]))
        elif path.endswith("/log"):
            self.answer_log(query)
        elif "/secrets/" in path and self.server.secrets.get(name, "") is None:
            self.answer(200, "<html>")
        elif "/secrets/" in path and name in self.server.secrets:
            uids = self.server.owners or [each["metadata"].get("uid") for each in self.server.sessions.values()]
            owners = [{"apiVersion": "sandboxsessions.dev/v1alpha1", "uid": uid} for uid in uids]
            metadata = {"name": name, "ownerReferences": owners}
            self.answer(200, {"kind": "Secret", "metadata": metadata, "data": self.server.secrets[name]})
        else:
            self.failure(404, f'"{name}" not found')

    def answer_log(self, query):
        chunks = self.server.logs[query["container"][0]]
        self.protocol_version = "HTTP/1.1"
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        for chunk in chunks if "follow" in query else [b"".join(chunks)]:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def answer_events(self, selector):
        if self.server.events is None:
            self.failure(403, "events is forbidden")
        else:
            pod = selector.removeprefix("involvedObject.name=")
            found = [event for event in self.server.events if event["involvedObject"]["name"] == pod]
            self.answer(200, {"items": found})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = body["metadata"]["name"]
        self.server.writes.append(("POST", name, self.split()[2]))
        if self.server.refusal:
            self.failure(*self.server.refusal)
            return
        if name in self.server.sessions:
            self.failure(409, f'sandboxsessions.sandboxsessions.dev "{name}" already exists')
            return
        self.server.sessions[name] = copy.deepcopy(body)
        self.server.operator(self.server.sessions[name])
        self.answer(201, self.server.sessions[name])

    def do_PATCH(self):
        path, name, query = self.split()
        patch = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.writes.append(("PATCH", name, query))
        if not path.startswith(SESSIONS) or name not in self.server.sessions:
            self.failure(404, f'"{name}" not found')
            return
        _merge(self.server.sessions[name], patch)
        self.server.operator(self.server.sessions[name])
        self.answer(200, self.server.sessions[name])

    def do_DELETE(self):
        path, name, query = self.split()
        content = self.rfile.read(int(self.headers["Content-Length"] or 0))
        uid = (json.loads(content).get("preconditions") or {}).get("uid") if content else None
        self.server.writes.append(("DELETE", name, query))
        if self.server.refusal:
            self.failure(*self.server.refusal)
        elif path.rstrip("/") == SESSIONS:
            self.server.sessions.clear()
            self.answer(200, {"kind": "Status", "status": "Success"})
        elif uid and name in self.server.sessions and self.server.sessions[name]["metadata"].get("uid") != uid:
            self.failure(409, "the UID in the precondition differs from the UID of the object")
        elif not path.startswith(SESSIONS) or self.server.sessions.pop(name, None) is None:
            self.failure(404, f'"{name}" not found')
        else:
            self.answer(200, {"kind": "Status", "status": "Success"})


def _merge(target, patch):
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            _merge(target.setdefault(key, {}), value)
        else:
            target[key] = value


def session(phase, name="s", **status):
    """Return a session in a phase."""
    metadata = {"name": name, "resourceVersion": "1"}
    return {"metadata": metadata, "spec": {"templateRef": {"name": "default"}}, "status": {"phase": phase, **status}}


def problem(phase, reason, message, **status):
    """Return a session whose condition Ready has this reason."""
    condition = {"type": "Ready", "status": "False", "reason": reason, "message": message}
    return session(phase, conditions=[condition], **status)


def serve(server):
    """Run a server until the generator is closed."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
