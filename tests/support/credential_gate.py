"""S3 as moto's server speaks it, behind a gate that knows which access keys are good now, as a real store does."""

import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

_CREDENTIAL = re.compile(r"Credential=([^/]+)/")
_ERROR = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>"


@dataclass
class CredentialGate:
    """A WSGI application in front of another.

    Attributes:
        good: Access keys that are let through; tests change it at any time.
        refused: How many requests were refused because of their key.
        code: The error code of such a refusal.
        hides_missing: Missing objects are answered as AccessDenied, as for who may not list them.
        before: Told each request (its method and query) before it is judged; may change `good`.
    """

    application: Callable[..., Iterable[bytes]]
    good: set[str]
    refused: int = 0
    code: str = "ExpiredToken"
    hides_missing: bool = False
    before: Callable[[str, str], None] = lambda method, query: None
    endpoint: str = ""
    seen: list[str] = field(default_factory=list)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """WSGI."""
        method = environ["REQUEST_METHOD"]
        self.before(method, environ.get("QUERY_STRING", ""))
        found = _CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
        key = found[1] if found else ""
        self.seen.append(key)
        if key not in self.good:
            self.refused += 1
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            return _refuse(method, start_response, "400 Bad Request", self.code)
        if not self.hides_missing or method not in {"GET", "HEAD"}:
            return self.application(environ, start_response)
        answer: list[Any] = []
        body = self.application(environ, lambda *arguments: answer.append(arguments))
        if answer[0][0].startswith("404"):
            return _refuse(method, start_response, "403 Forbidden", "AccessDenied")
        start_response(*answer[0])
        return body


def _refuse(method: str, start_response: Callable[..., Any], status: str, code: str) -> Iterable[bytes]:
    body = b"" if method == "HEAD" else _ERROR.format(code=code).encode()
    start_response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body]


@contextmanager
def serve_credential_gate(*good: str) -> Iterator[CredentialGate]:
    """The gate with moto behind it, on a port of its own; `endpoint` is its URL."""
    gate = CredentialGate(DomainDispatcherApplication(create_backend_app), set(good))
    server = make_server("127.0.0.1", 0, gate, threaded=True)
    gate.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield gate
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
