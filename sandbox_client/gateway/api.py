"""Calls of a gateway's control API. docs/doors/control.md describes it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from sandbox_client import errors
from sandbox_client.errors import NotFound, SandboxError, SandboxUnavailable
from sandbox_client.lifecycle.session_info import SessionInfo, parse_time
from sandbox_client.transport.endpoint import Endpoint, PodLife

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from sandbox_client.gateway.place import GatewayPlace

_CONNECT_SECONDS: Final = 10.0
_SECONDS: Final = 30.0
_TIMES: Final = ("created_at", "started_at", "last_active_at", "expires_at")
_WORDS: Final = ("name", "namespace", "phase", "reason", "message", "template", "workspace", "egress")
NEW_SESSION_FIELDS: Final = (
    "template",
    "env",
    "egress",
    "idle_timeout",
    "lifetime",
    "on_idle",
    "resources",
    "workspace",
    "keep_variables",
    "labels",
)
"""Fields of a new session besides its name, and whether it is ephemeral."""


class GatewayApi:
    """The control API of one gateway.

    Every method raises Unauthenticated if the key is wrong, and SandboxUnavailable if the gateway does not respond.

    Args:
        place: The gateway and the key.
    """

    def __init__(self, place: GatewayPlace) -> None:
        import urllib3  # noqa: PLC0415 - slow to import

        self._place = place
        self._pool = urllib3.PoolManager(retries=False)
        self._headers = {"authorization": f"Bearer {place.api_key}", "accept": "application/json"}
        if place.namespace:
            self._headers["x-sandbox-namespace"] = place.namespace

    async def create(self, new: Mapping[str, Any], seconds: float) -> SessionInfo:
        """Create a session and wait until it is Ready.

        Args:
            new: The fields of the session. None counts as missing.
            seconds: Time to wait at most.
        """
        return _read_info(await self._call("POST", "", new, seconds=seconds))

    async def list(self) -> list[SessionInfo]:
        """Return all sessions that the key can see."""
        return [_read_info(each) for each in (await self._call("GET", "")).get("sessions", [])]

    async def info(self, name: str) -> SessionInfo:
        """Return a session."""
        return _read_info(await self._call("GET", _path(name)))

    async def connect(self, name: str, *, wake: bool, seconds: float) -> tuple[Endpoint, bool]:
        """Return a session's endpoint, and whether it was suspended and has been resumed.

        Args:
            name: The session's name.
            wake: Whether a suspended session is resumed.
            seconds: Time to wait at most.
        """
        answer = await self._call("POST", _path(name, "connect"), {"wake": wake}, seconds=seconds)
        try:
            place = answer["endpoint"]
            certificate = place["ca_certificate"].encode()
            # A session of the gateway's machine has no pod, but a uid.
            uid, pod, started_at = place["run"].split("/")
            life = PodLife(uid or str(answer["session"]["uid"]), pod, started_at)
            endpoint = Endpoint(place["address"], place["server_name"], certificate, place["token"], life=life)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise self._not_a_gateway() from error
        return endpoint, bool(answer.get("was_suspended"))

    async def suspend(self, name: str, seconds: float) -> SessionInfo:
        """Suspend a session."""
        return _read_info(await self._call("POST", _path(name, "suspend"), seconds=seconds))

    async def resume(self, name: str, new_seconds: float | None, seconds: float) -> SessionInfo:
        """Resume a session, and set its end if `new_seconds` is given."""
        return _read_info(await self._call("POST", _path(name, "resume"), {"seconds": new_seconds}, seconds=seconds))

    async def set_timeout(self, name: str, new_seconds: float) -> dt.datetime | None:
        """Set a session's end, and return it."""
        return parse_time((await self._call("PUT", _path(name, "timeout"), {"seconds": new_seconds})).get("expires_at"))

    async def logs(self, name: str, tail: int) -> dict[str, str]:
        """Return the last lines of a session's logs, by container."""
        return dict(await self._call("GET", f"{_path(name, 'logs')}?{urlencode({'tail': tail})}"))

    async def delete(self, name: str) -> None:
        """Delete a session."""
        await self._call("DELETE", _path(name))

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    async def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, seconds: float = _SECONDS
    ) -> dict[str, Any]:
        from urllib3 import Timeout  # noqa: PLC0415 - slow to import
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - same

        content = None if body is None else json.dumps(body)
        headers = self._headers if body is None else {**self._headers, "content-type": "application/json"}
        try:
            answer = await asyncio.to_thread(
                self._pool.request,
                method,
                f"{self._place.url}/api/v1/sessions{path}",
                body=content,
                headers=headers,
                redirect=False,
                timeout=Timeout(_CONNECT_SECONDS, read=seconds),
            )
        except (HTTPError, OSError) as error:
            message = f"the gateway {self._place.url} does not respond: {error}"
            raise SandboxUnavailable(message, reason="GATEWAY") from error
        if answer.status == 204:  # noqa: PLR2004 - no content
            return {}
        try:
            found = json.loads(answer.data)
        except ValueError:
            raise self._not_a_gateway(answer.status) from None
        if answer.status >= 400 and isinstance(found, dict) and "error" in found:  # noqa: PLR2004 - an error
            raise _read_error(found)
        if answer.status >= 300 or not isinstance(found, dict):  # noqa: PLR2004 - not a success
            raise self._not_a_gateway(answer.status)
        return found

    def _not_a_gateway(self, status: int | None = None) -> SandboxUnavailable:
        shown = f" (HTTP {status})" if status else ""
        message = f"the server at {self._place.url} does not answer as a gateway does{shown}: check the address"
        return SandboxUnavailable(message, reason="GATEWAY")


def _path(name: str, *rest: str) -> str:
    if name in ("", ".", ".."):
        # HTTP clients shorten such a path, so the request would be about all sessions.
        raise NotFound(f"there is no session {name!r}", reason="NOT_FOUND")
    return "".join(f"/{quote(each, safe='')}" for each in (name, *rest))


def _read_info(answer: Mapping[str, Any]) -> SessionInfo:
    words: dict[str, Any] = {name: str(answer.get(name) or "") for name in _WORDS}
    times: dict[str, Any] = {name: parse_time(answer.get(name)) for name in _TIMES}
    labels = answer.get("labels")
    return SessionInfo(
        **words,
        **times,
        labels=dict(labels) if isinstance(labels, dict) else {},
        is_suspended=answer.get("is_suspended") is True,
    )


def _read_error(answer: Mapping[str, Any]) -> SandboxError:
    class_ = getattr(errors, str(answer.get("type")), SandboxError)
    if not (isinstance(class_, type) and issubclass(class_, SandboxError)):
        class_ = SandboxError
    return class_(str(answer["error"]), reason=str(answer.get("reason", "")), field=str(answer.get("field", "")))
