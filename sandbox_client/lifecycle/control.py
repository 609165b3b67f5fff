"""The life of a sandbox's session: what `info`, `suspend`, `resume`, `set_timeout` and `delete` of a sandbox do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox_client.errors import NotSupported
from sandbox_client.lifecycle.session_info import SessionInfo

if TYPE_CHECKING:
    import datetime as dt

    from sandbox_client.lifecycle.durations import Duration


class SessionControl:
    """Control of one session. This class refuses everything: its sandbox knows an address and no more."""

    async def info(self) -> SessionInfo:
        """Return the session's state."""
        raise self._refusal("its state cannot be read")

    async def suspend(self, timeout: float) -> None:  # noqa: ARG002, ASYNC109 - subclasses need it; it ends a watch
        """Suspend the session, and wait until it is suspended."""
        raise self._refusal("it cannot be suspended")

    async def resume(self, expires: Duration | dt.datetime | None, timeout: float) -> None:  # noqa: ARG002, ASYNC109
        """Resume the session, and wait until it is Ready."""
        raise self._refusal("it cannot be resumed")

    async def set_timeout(self, expires: Duration | dt.datetime | None) -> dt.datetime | None:  # noqa: ARG002
        """Move the time at which the session ends, and return it."""
        raise self._refusal("its end cannot be moved")

    async def delete(self) -> None:
        """Delete the session."""
        raise self._refusal("it cannot be deleted")

    def _refusal(self, what: str) -> NotSupported:
        message = f"this sandbox was opened with an address, not with a session's name: {what} through it"
        return NotSupported(message, reason="NO_SESSION")


class LocalControl(SessionControl):
    """Control of a session that is a part of this program, and ends with it."""

    def __init__(self, name: str, egress: str) -> None:
        """Remember the session.

        Args:
            name: Its name, without `local/`.
            egress: `none` or `public`.
        """
        self._name, self._egress = name, egress

    async def info(self) -> SessionInfo:
        """Return the session's state: it is Ready as long as its sandbox is open."""
        return SessionInfo(f"local/{self._name}", phase="Ready", workspace=self._name, egress=self._egress)

    async def delete(self) -> None:
        """Do nothing more: closing the sandbox ends the session, and removes its temporary folders."""

    def _refusal(self, what: str) -> NotSupported:
        message = (
            f"session local/{self._name} is a part of this program: {what}. It ends with `close`. To continue later "
            "with its files and variables, open it with store= and keep_variables=True"
        )
        return NotSupported(message, reason="LOCAL_SESSION")


class ControlledSession:
    """The methods of a sandbox that concern its session as a whole."""

    _control: SessionControl

    async def info(self) -> SessionInfo:
        """Return the session's phase, times, labels and other facts, as they are now.

        Raises:
            NotFound: The session was deleted.
        """
        return await self._control.info()

    async def suspend(self, *, timeout: float = 120.0) -> None:  # noqa: ASYNC109 - it ends a watch
        """Save the session's files, delete its pod, and wait until this is done. The next call resumes the session.

        Args:
            timeout: Seconds to wait at most.

        Raises:
            NotSupported: The session is a local one.
            SessionFailed: It was not suspended in time. The operator continues to try.
        """
        await self._control.suspend(timeout)

    async def resume(self, *, expires: Duration | dt.datetime | None = None, timeout: float = 120.0) -> None:  # noqa: ASYNC109 - same
        """Start the suspended session again, with its files, and wait until it is Ready.

        With `connect(wake=False)` this sandbox stays connected to the previous pod: connect again.

        Args:
            expires: The time at which the session ends, or a duration from now: seconds, a timedelta, or a text such
                as `30m`. It keeps the previous one if None.
            timeout: Seconds to wait at most.

        Raises:
            NotSupported: The session is a local one.
            SessionFailed: It did not become Ready; the message has its conditions.
        """
        await self._control.resume(expires, timeout)

    async def set_timeout(self, expires: Duration | dt.datetime | None) -> dt.datetime | None:
        """Move the time at which the session ends: later or earlier, while it runs or is suspended.

        The earliest of this time, the maximum lifetime and the idle timeout counts.

        Args:
            expires: A duration from now (seconds, a timedelta, or a text such as `30m`), or the time itself. None
                removes it, so that only the other bounds apply.

        Returns:
            When the session ends. None if nothing ends it, or if that is not known without a pod.

        Raises:
            FailedPrecondition: The session's maximum lifetime, or its template's, ends it earlier.
            NotSupported: The session is a local one.
        """
        return await self._control.set_timeout(expires)
