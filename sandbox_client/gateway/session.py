"""One session behind a gateway: its control, and the route to its agent."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import secrets
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from sandbox_client.contexts import kept_variables_at
from sandbox_client.errors import InvalidArgument, NotFound, NotSupported, SandboxError, SandboxUnavailable
from sandbox_client.gateway.api import NEW_SESSION_FIELDS, GatewayApi
from sandbox_client.lifecycle.control import SessionControl
from sandbox_client.lifecycle.durations import parse_duration
from sandbox_client.models.saved_variables import describe_wake
from sandbox_client.transport.waker import BaseWaker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_client.gateway.place import GatewayPlace
    from sandbox_client.lifecycle.durations import Duration
    from sandbox_client.lifecycle.session_info import SessionInfo
    from sandbox_client.transport.endpoint import Endpoint

_log: Final = logging.getLogger(__name__)
_POLL: Final = 0.3
_MARGIN: Final = 10.0
"""Seconds that the gateway has to report that a session did not start in time."""
_UNDO_SECONDS: Final = 20.0
"""Time for a create that was given up to reach the gateway. Later, the operator deletes the session in the end."""


Connected: TypeAlias = "tuple[Endpoint, GatewayWaker | None, GatewayControl, str]"


class GatewayControl(SessionControl):
    """Control of one session behind a gateway."""

    def __init__(self, api: GatewayApi, name: str) -> None:
        self._api, self._name = api, name

    async def info(self) -> SessionInfo:
        """Return the session's state."""
        return await self._api.info(self._name)

    async def suspend(self, timeout: float) -> None:  # noqa: ASYNC109 - the gateway waits
        """Suspend the session, and wait until it is suspended."""
        await self._api.suspend(self._name, timeout)

    async def resume(self, expires: Duration | dt.datetime | None, timeout: float) -> None:  # noqa: ASYNC109 - same
        """Resume the session, and wait until it is Ready."""
        await self._api.resume(self._name, None if expires is None else seconds_until(expires), timeout)

    async def set_timeout(self, expires: Duration | dt.datetime | None) -> dt.datetime | None:
        """Move the time at which the session ends, and return it."""
        if expires is None:
            message = "a gateway does not remove the end of a session: give a later one"
            raise NotSupported(message, reason="NOT_SUPPORTED", field="expires")
        return await self._api.set_timeout(self._name, seconds_until(expires))

    async def delete(self) -> None:
        """Delete the session."""
        await self._api.delete(self._name)


class GatewayWaker(BaseWaker):
    """The route to one session behind a gateway, renewed when the session is resumed or moves. For one event loop.

    Args:
        api: The gateway.
        name: The session's name.
        endpoint: The session's current endpoint.
        timeout: Seconds that a wake may take.
    """

    def __init__(self, api: GatewayApi, name: str, endpoint: Endpoint, *, timeout: float) -> None:
        super().__init__(endpoint)
        self._api, self._name, self._timeout = api, name, timeout

    async def close(self) -> None:
        """Cancel a wake in progress, and close the connections to the gateway."""
        await super().close()
        self._api.close()

    async def _check(self, previous: Endpoint, error: SandboxError | None) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        while True:
            try:
                endpoint, _ = await self._api.connect(self._name, wake=True, seconds=self._timeout)
            except NotFound as failure:
                if error is None:
                    raise self._over("it was deleted") from failure
                return
            except SandboxError as failure:
                # The caller's own error says more, unless the session could not be resumed.
                if failure.reason == "NOT_READY" and error is None:
                    raise
                _log.debug("the gateway does not say where session %s is: %s", self._name, failure)
                return
            if endpoint.life.session_uid != previous.life.session_uid:
                if error is None:
                    raise self._over("it was deleted, and its name now belongs to another session")
                return
            if _is_another(endpoint, previous):
                # It was resumed now, or by another client.
                self.on_notice(describe_wake(await kept_variables_at(endpoint)))
                self.endpoint = endpoint
                return
            # A session that is being saved is still where it was.
            if error is None or error.reason != "DRAINING" or loop.time() >= deadline:
                return
            await asyncio.sleep(_POLL)

    def _over(self, why: str) -> SandboxUnavailable:
        return SandboxUnavailable(f"session {self._name} is over: {why}", reason="SESSION_OVER")


async def connect(place: GatewayPlace, name: str, *, wake: bool, options: Mapping[str, Any]) -> Connected:
    """Find a session, and resume it if it is suspended.

    Args:
        place: The gateway.
        name: The session's name.
        wake: Whether a suspended session is resumed, now or in a later call.
        options: Every option of ConnectOptions.

    Returns:
        The endpoint, what renews it, the session's control, and a notice or "".

    Raises:
        NotFound: The key can see no session of that name.
        FailedPrecondition: It is suspended and `wake` is false.
    """
    api = GatewayApi(place)
    try:
        return await _connect(api, name, wake=wake, seconds=options["timeout"])
    except BaseException:
        api.close()
        raise


async def create(
    place: GatewayPlace, name: str | None, options: Mapping[str, Any], *, is_ephemeral: bool
) -> tuple[str, Connected]:
    """Create a session, wait until it is Ready, and connect. Returns its name, and what `connect` returns.

    Args:
        place: The gateway.
        name: The session's name; a random one if None.
        options: Every option of CreateOptions.
        is_ephemeral: Delete the session if this call fails or is cancelled.

    Raises:
        Conflict: There is a session of that name already.
        InvalidArgument: An argument is wrong; `field` names it.
        SessionFailed: It did not become Ready.
    """
    if options["spec"] is not None:
        message = "a gateway takes no further fields of the spec: set them in the session's template"
        raise InvalidArgument(message, field="spec")
    api = GatewayApi(place)
    # Chosen here, so that a session whose create was interrupted can be deleted.
    chosen = name if name is not None else f"sandbox-{secrets.token_hex(4)}"
    new = {
        "name": chosen,
        "ephemeral": is_ephemeral or None,
        **{key: _to_json(options[key]) for key in NEW_SESSION_FIELDS},
    }
    creation = asyncio.ensure_future(api.create(new, options["timeout"] + _MARGIN))
    try:
        created = (await asyncio.shield(creation)).name
        return created, await _connect(api, created, wake=True, seconds=options["timeout"])
    except BaseException:
        if is_ephemeral:
            await _undo(creation, api, chosen, is_own_name=name is None)
        creation.cancel()
        api.close()
        raise


async def _connect(api: GatewayApi, name: str, *, wake: bool, seconds: float) -> Connected:
    endpoint, was_suspended = await api.connect(name, wake=wake, seconds=seconds + _MARGIN)
    waker = GatewayWaker(api, name, endpoint, timeout=seconds) if wake else None
    notice = describe_wake(await kept_variables_at(endpoint)) if was_suspended else ""
    return endpoint, waker, GatewayControl(api, name), notice


async def _undo(creation: asyncio.Future[SessionInfo], api: GatewayApi, name: str, *, is_own_name: bool) -> None:
    """Delete a session whose create failed or was cancelled. The request may still be on its way.

    Args:
        creation: The request.
        api: The gateway.
        name: The session's name.
        is_own_name: No other session has this name. Otherwise a create that failed may have met an older session.
    """
    ends = asyncio.get_running_loop().time() + _UNDO_SECONDS
    while True:
        is_over = creation.done() or asyncio.get_running_loop().time() >= ends
        if is_own_name or (creation.done() and not creation.cancelled() and creation.exception() is None):
            try:
                return await api.delete(name)
            except NotFound:
                pass  # not yet created, or never
            except SandboxError as error:
                _log.warning("the ephemeral session %s was not deleted: %s", name, error)
                return None
        if is_over:
            return None
        await asyncio.wait([creation], timeout=_POLL)


async def list_sessions(place: GatewayPlace, labels: Mapping[str, str] | None) -> list[SessionInfo]:
    """Return the sessions that the key can see and that have all of these labels."""
    api = GatewayApi(place)
    try:
        return [each for each in await api.list() if (labels or {}).items() <= each.labels.items()]
    finally:
        api.close()


def seconds_until(expires: Duration | dt.datetime) -> float:
    """Return the seconds until an end.

    Raises:
        InvalidArgument: It is no duration, or a time without a time zone, or a time in the past.
    """
    if not isinstance(expires, dt.datetime):
        return parse_duration(expires, "expires").total_seconds()
    if expires.tzinfo is None:
        raise InvalidArgument(f"{expires.isoformat()} has no time zone: add one, such as datetime.UTC", field="expires")
    seconds = (expires - dt.datetime.now(dt.UTC)).total_seconds()
    if seconds <= 0:
        raise InvalidArgument(f"{expires.isoformat()} is in the past", field="expires")
    return seconds


def _to_json(value: Any) -> Any:
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    return dict(value) if hasattr(value, "items") else value


def _is_another(endpoint: Endpoint, previous: Endpoint) -> bool:
    return (endpoint.address, endpoint.token, endpoint.life) != (previous.address, previous.token, previous.life)
