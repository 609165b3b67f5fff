"""Connects clients to local sessions by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import InvalidArgument
from sandbox_client.local.named.operations import create, find_ready
from sandbox_client.local.named.reports import endpoint_of
from sandbox_client.local.named.waker import LocalWaker, wake_notice
from sandbox_client.options import ignore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_client.local.named.record import LocalRequest
    from sandbox_client.options import ConnectOptions, LocalOptions
    from sandbox_client.transport.endpoint import Endpoint

_START_TIMEOUT: Final = 120.0
_CLUSTER_OPTIONS: Final = ("namespace", "kubeconfig", "kube_context", "in_cluster", "gateway", "api_key")


async def connect_local(name: str, *, wakes: bool, options: ConnectOptions) -> tuple[Endpoint, LocalWaker | None, str]:
    """Find a session, and resume it if it is suspended.

    Args:
        name: The session's name, without `local/`.
        wakes: Whether a suspended session is resumed, now or in a later call.
        options: Every option of ConnectOptions.

    Returns:
        The endpoint, what renews it, and a notice for the caller or "".

    Raises:
        InvalidArgument: There is an option of a cluster.
        NotFound: There is no session of that name.
        SessionFailed: It failed, or is suspended and `wakes` is false.
    """
    refuse_cluster_options(name, options)
    waiting = {"timeout": options["timeout"], "on_progress": options["on_phase"] or ignore}
    record, was_suspended = await find_ready(name, wakes=wakes, **waiting)  # type: ignore[arg-type]
    endpoint = endpoint_of(record)
    if not wakes:
        return endpoint, None, ""
    waker = LocalWaker(record, timeout=options["timeout"], on_phase=options["on_phase"] or ignore)
    return waker.endpoint, waker, await wake_notice(endpoint) if was_suspended else ""


async def create_and_connect(request: LocalRequest, options: LocalOptions) -> tuple[Endpoint, LocalWaker]:
    """Create a session. Arguments and errors as for `create`."""
    record = await create(request, options)
    waker = LocalWaker(record, timeout=_START_TIMEOUT, on_phase=options["on_progress"] or ignore)
    return waker.endpoint, waker


def refuse_cluster_options(name: str, options: Mapping[str, Any]) -> None:
    """Refuse options that choose a cluster, because the session is not in one.

    Raises:
        InvalidArgument: There is one; `field` names it.
    """
    for field in _CLUSTER_OPTIONS:
        if options.get(field) is not None:
            raise InvalidArgument(f"local/{name} is on this machine, not in a cluster: leave this out", field=field)
