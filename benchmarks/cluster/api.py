"""A client of one API server: blocking calls for preparation, and an asyncio HTTP session for loads and watches."""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass
from typing import Any

import aiohttp
import requests


@dataclass(frozen=True, slots=True)
class Api:
    """The address of an API server, and the client's credentials.

    Attributes:
        server: Its URL.
        token: A bearer token, or "".
        authority: File of the CA that signed its certificate. If "", the certificate is not verified.
        certificate: Files of a client certificate and its key.
    """

    server: str
    token: str = ""
    authority: str = ""
    certificate: tuple[str, str] | None = None

    def call(self, method: str, path: str, body: object = None, **parameters: str | int) -> dict[str, Any]:
        """Make one call and return its JSON."""
        headers = self._headers()
        if body is not None:
            headers["Content-Type"] = "application/merge-patch+json" if method == "PATCH" else "application/json"
        data = json.dumps(body) if body is not None else None
        with requests.Session() as session:
            session.trust_env = False  # the API server is not reachable through a proxy
            answer = session.request(
                method, self.server + path, data=data, headers=headers, params=parameters,
                verify=self.authority or False, cert=self.certificate, timeout=60,
            )  # fmt: skip
        if not answer.ok:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        result: dict[str, Any] = answer.json()
        return result

    def open_http(self, limit: int = 100) -> aiohttp.ClientSession:
        """Open an HTTP session for paths below the server, with at most `limit` connections."""
        tls: ssl.SSLContext | bool = False
        if self.authority:
            tls = ssl.create_default_context(cafile=self.authority)
            if self.certificate:
                tls.load_cert_chain(*self.certificate)
        connector = aiohttp.TCPConnector(ssl=tls, limit=limit)
        return aiohttp.ClientSession(self.server, headers=self._headers(), connector=connector)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}
