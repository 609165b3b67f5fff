"""The names and tokens of E2B's protocol: sandbox ids, hosts and signatures. Pure: no I/O."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_client.lifecycle.session_info import SessionInfo

ENVD_PORT: Final = 49983
INTERPRETER_PORT: Final = 49999
ENVD_VERSION: Final = "0.6.4"
"""The version of E2B's agent whose features the SDKs may use."""
ENVD: Final = "envd"
"""The purpose of the token for files, commands and code."""
TRAFFIC: Final = "e2b-traffic"
"""The purpose of the token for requests to ports."""
_SEPARATOR: Final = "--"
_ALPHABET: Final = string.ascii_lowercase + string.digits
_NAME_LENGTH: Final = 15
_HOST: Final = re.compile(r"([0-9]{1,5})-([a-z0-9](?:[a-z0-9-]*[a-z0-9])?)\.")
_CONTROL_PATHS: Final = ("/sandboxes", "/v2/", "/v3/", "/snapshots", "/templates")
_ID: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,130}[a-z0-9])?")
_MAX_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class Target:
    """The session and port that a request is for.

    Attributes:
        sandbox_id: The session's id; "" if the request does not name one.
        port: The port.
    """

    sandbox_id: str
    port: int


def new_name(caller: str, idempotency_key: str) -> str:
    """Return a name for a new session: random, or the same one for the same caller and idempotency key."""
    if not idempotency_key:
        return "i" + "".join(secrets.choice(_ALPHABET) for _ in range(_NAME_LENGTH))
    digest = hashlib.sha256(f"{len(caller)}:{caller}:{idempotency_key}".encode()).digest()
    return "i" + base64.b32encode(digest).decode().lower()[:_NAME_LENGTH]


def sandbox_id(info: SessionInfo) -> str:
    """Return the id by which E2B's clients know a session. It is a part of host names.

    The id of a session in a cluster contains its namespace, because requests to a session carry no API key: it is
    `NAME--NAMESPACE`. If one of the two has `--` itself, the length of the name follows, as in `a--b--team--4`.
    """
    return _join(info.name.removeprefix("local/"), info.namespace)


def split_id(identifier: str) -> tuple[str, str]:
    """Return the namespace ("" on a laptop) and the name of the session with this id.

    Each id stands for one session, and each session has one id. Whatever is no id is the name of no session.
    """
    before, separator, last = identifier.rpartition(_SEPARATOR)
    if not separator:
        return "", identifier
    choices = [(last, before)]
    if last.isascii() and last.isdigit():
        length = int(last[:4])
        choices.append((before[length + len(_SEPARATOR) :], before[:length]))
    # At most one of them has this id.
    return next(((namespace, name) for namespace, name in choices if _join(name, namespace) == identifier), ("", ""))


def _join(name: str, namespace: str) -> str:
    if _SEPARATOR in name or _SEPARATOR in namespace:
        return f"{name}{_SEPARATOR}{namespace}{_SEPARATOR}{len(name)}"
    return f"{name}{_SEPARATOR}{namespace}" if namespace else name


def read_target(headers: Mapping[str, str], host: str, path: str) -> Target | None:
    """Return what a request is for, or None if it is for the control plane.

    Args:
        headers: The request's headers, by names in small letters.
        host: The host that it was sent to.
        path: Its path.
    """
    identifier = headers.get("e2b-sandbox-id", "")
    # Older SDKs name the session in calls of the control plane, too.
    if identifier and not ("x-api-key" in headers and path.startswith(_CONTROL_PATHS)):
        port = headers.get("e2b-sandbox-port", str(ENVD_PORT))
        return _target(identifier, port)
    if match := _HOST.match(host.lower()):
        return _target(match[2], match[1])
    # With E2B_SANDBOX_URL, a signed URL and the file calls of older SDKs name no session.
    names_token = "x-access-token" in headers and "x-api-key" not in headers
    return Target("", ENVD_PORT) if names_token or path == "/files" else None


def takes_traffic_token(target: Target, path: str) -> bool:
    """Return whether a token for requests to ports is enough. It must not run code, and not reach files.

    The SDKs send no other token in the calls for contexts.
    """
    if target.port == INTERPRETER_PORT:
        return path.strip("/").split("/")[0] == "contexts"
    return target.port != ENVD_PORT


def _target(identifier: str, port: str) -> Target | None:
    if not _ID.fullmatch(identifier.lower()) or not port.isascii() or not port.isdigit() or int(port) > _MAX_PORT:
        return None
    return Target(identifier.lower(), int(port))


def sign(path: str, operation: str, user: str, token: str, expiration: int | None) -> str:
    """Return the signature of a file's URL.

    Args:
        path: The path as it stands in the URL.
        operation: `read` or `write`.
        user: The user name in the URL, or "".
        token: The session's access token.
        expiration: Seconds since 1970, or None.
    """
    parts = [path, operation, user, token, *([] if expiration is None else [str(expiration)])]
    digest = hashlib.sha256(":".join(parts).encode()).digest()
    return "v1_" + base64.b64encode(digest).rstrip(b"=").decode()


def is_signable(user: str) -> bool:
    """Return whether a signature for this user name means one thing only.

    `:` joins the signed parts. Only the path may contain it: all parts after the path then have fixed places, counted
    from the end.
    """
    return ":" not in user
