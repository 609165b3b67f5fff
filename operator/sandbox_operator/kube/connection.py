"""The API server's address and the operator's identity, from a pod's service account or a developer's KUBECONFIG."""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import yaml

from sandbox_operator.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TOKEN_MAX_AGE: Final = 60.0
"""Seconds after which a mounted token is read again. The kubelet replaces it long before it expires."""


@dataclass(slots=True)
class Connection:
    """An API server's address, TLS context and bearer token."""

    server: str
    tls: ssl.SSLContext | bool
    token_file: Path | None = None
    _token: str = field(default="", repr=False)
    _token_read: float = field(default=float("-inf"), repr=False)

    def headers(self) -> dict[str, str]:
        """Return the Authorization header of a request, or nothing if a client certificate identifies the operator."""
        if self.token_file and time.monotonic() - self._token_read > _TOKEN_MAX_AGE:
            self._token = self.token_file.read_text(encoding="utf-8").strip()
            self._token_read = time.monotonic()
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    def open_session(
        self, limit: int, *, total: float | None, middlewares: tuple[aiohttp.ClientMiddlewareType, ...] = ()
    ) -> aiohttp.ClientSession:
        """Open an HTTP session with at most `limit` connections.

        Args:
            limit: Maximum number of connections.
            total: Timeout of a request in seconds. None for watches, which have no end.
            middlewares: Middlewares for all requests.
        """
        return aiohttp.ClientSession(
            middlewares=middlewares,
            connector=aiohttp.TCPConnector(limit=limit, ssl=self.tls),
            timeout=aiohttp.ClientTimeout(total=total, sock_connect=5),
        )


def load_connection(environment: Mapping[str, str]) -> Connection:
    """Load the connection from KUBECONFIG if it is set, else from the pod's service account.

    Raises:
        SettingsError: Neither exists, or the file cannot be used.
    """
    if path := environment.get("KUBECONFIG"):
        return _from_file(Path(path.split(os.pathsep)[0]))
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise SettingsError("no API server: set KUBECONFIG, or run in a pod with a service account")
    host = f"[{host}]" if ":" in host else host
    tls = ssl.create_default_context(cafile=str(_ACCOUNT / "ca.crt"))
    return Connection(f"https://{host}:{port}", tls, token_file=_ACCOUNT / "token")


def _from_file(path: Path) -> Connection:
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        context = _named(config["contexts"], config["current-context"])["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config["users"], context["user"]).get("user") or {}
        server = str(cluster["server"])
    except (OSError, KeyError, TypeError, yaml.YAMLError) as error:
        raise SettingsError(f"KUBECONFIG {path}: {error!r}") from error
    if "exec" in user or "auth-provider" in user:
        raise SettingsError(f"KUBECONFIG {path}: credential plugins are not supported; use a token or a certificate")
    token_file = path.parent / user["tokenFile"] if user.get("tokenFile") else None
    return Connection(server.rstrip("/"), _tls(path.parent, cluster, user), token_file, user.get("token") or "")


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    for entry in entries:
        if entry["name"] == name:
            return entry
    raise KeyError(name)


def _tls(folder: Path, cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext | bool:
    if str(cluster["server"]).startswith("http://"):
        return True
    authority = _content(folder, cluster, "certificate-authority")
    context = ssl.create_default_context(cadata=authority.decode() if authority else None)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    certificate, key = _content(folder, user, "client-certificate"), _content(folder, user, "client-key")
    if certificate and key:
        # ssl loads a certificate only from a file, which is deleted at once.
        with tempfile.NamedTemporaryFile() as file:
            file.write(certificate + b"\n" + key)
            file.flush()
            context.load_cert_chain(file.name)
    return context


def _content(folder: Path, entry: dict[str, Any], name: str) -> bytes:
    if data := entry.get(f"{name}-data"):
        return base64.b64decode(data)
    return (folder / entry[name]).read_bytes() if entry.get(name) else b""
