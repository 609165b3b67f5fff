"""The part of a sandbox that creates local sessions which outlive the program."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack

from sandbox_client.local.address import check_local_name
from sandbox_client.options import LOCAL_DEFAULTS, LocalOptions, complete

if TYPE_CHECKING:
    import os

    from sandbox_client.lifecycle.durations import Duration


class NamedLocalSession:
    """The constructor of a sandbox for a new session `local/NAME`."""

    @classmethod
    # An option of `local` is called `name`, too. Here it is the session's.
    async def create_local(  # type: ignore[misc]
        cls,
        name: str,
        workspace: str | os.PathLike[str] | None = None,
        store: str | os.PathLike[str] | None = None,
        *,
        idle_timeout: Duration = "4h",
        lifetime: Duration = "24h",
        on_idle: Literal["suspend", "delete"] = "suspend",
        **options: Unpack[LocalOptions],
    ) -> Self:
        """Create a session on this machine that outlives this program, and connect to it.

        `connect("local/NAME")` and `sandbox run --session local/NAME` use it later. `sandbox delete local/NAME` ends
        it.

        Code runs as the calling user: use a local session only for code that you trust.

        Args:
            name: The new session's name, `NAME` or `local/NAME`.
            workspace: The folder that the code works in. If None, it is kept with the session and deleted with it.
            store: The folder for pushed files, which outlive the session. Default: `~/.local/share/sandbox/store`.
            idle_timeout: Time without use until `on_idle` happens: seconds, a timedelta, or a text such as `15m`; 28
                days at most.
            lifetime: Time from each start until the session is suspended, in the same form.
            on_idle: `suspend` saves the session and ends its processes; the next `connect` or call resumes it. `delete`
                ends and removes it.
            **options: The options of `local` except `name`: the workspace in the store has the session's name.

        Raises:
            Conflict: There is a session of that name already.
            SessionFailed: The [local] extra is missing, or a process did not start; the message has the end of its log.
            InvalidArgument: An option is wrong; `field` names it.
        """
        from sandbox_client.local.named.connect import create_and_connect  # noqa: PLC0415 - only for local sessions
        from sandbox_client.local.named.control import NamedControl  # noqa: PLC0415 - same
        from sandbox_client.local.named.record import LocalRequest  # noqa: PLC0415 - same

        chosen: Any = complete(options, LOCAL_DEFAULTS)
        workspace, store = (None if path is None else Path(path) for path in (workspace, store))
        request = LocalRequest(check_local_name(name), workspace, store, idle_timeout, lifetime, on_idle)
        endpoint, waker = await create_and_connect(request, chosen)
        make: Any = cls
        made: Self = make(endpoint, name=f"local/{request.name}", waker=waker, control=NamedControl(request.name))
        return made
