"""Sessions behind a gateway, for the commands about sessions as a whole."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

from sandbox_client.errors import NotSupported
from sandbox_client.gateway.place import find_gateway
from sandbox_client.lifecycle.session_info import format_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sandbox_client.cli.options import Target
    from sandbox_client.cluster.session_request import SessionRequest
    from sandbox_client.gateway.api import GatewayApi
    from sandbox_client.lifecycle.control import SessionControl
    from sandbox_client.lifecycle.session_info import SessionInfo


@contextlib.contextmanager
def open_gateway(target: Target) -> Iterator[GatewayApi | None]:
    """Yield the gateway that the environment names, or None for a cluster."""
    place = None if target.is_everywhere else find_gateway(dataclasses.asdict(target.cluster))
    if place is None:
        yield None
        return
    from sandbox_client.gateway.api import GatewayApi  # noqa: PLC0415 - slow to import

    api = GatewayApi(place)
    try:
        yield api
    finally:
        api.close()


@contextlib.contextmanager
def control_of(target: Target, name: str) -> Iterator[SessionControl | None]:
    """Yield the control of a session behind the gateway that the environment names, or None for a cluster."""
    with open_gateway(target) as api:
        if api is None:
            yield None
            return
        from sandbox_client.gateway.session import GatewayControl  # noqa: PLC0415 - slow to import

        yield GatewayControl(api, name)


async def create(api: GatewayApi, request: SessionRequest, *, wait: bool, timeout: float) -> str:  # noqa: ASYNC109 - the gateway waits
    """Create a session and return its name.

    Raises:
        NotSupported: The caller does not want to wait.
    """
    if not wait:
        message = "a gateway answers when the session is Ready: leave out --no-wait"
        raise NotSupported(message, reason="NOT_SUPPORTED", field="wait")
    from sandbox_client.gateway.api import NEW_SESSION_FIELDS  # noqa: PLC0415 - slow to import

    new = {name: getattr(request, name) or None for name in ("name", *NEW_SESSION_FIELDS)}
    return (await api.create(new, timeout)).name


async def read_objects(api: GatewayApi, names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return sessions in the form of custom resources; all of them without names."""
    found = [await api.info(name) for name in names] if names else await api.list()
    return [_to_object(each) for each in found]


def _to_object(info: SessionInfo) -> dict[str, Any]:
    status = {"phase": info.phase, "expiresAt": format_time(info.expires_at) if info.expires_at else None}
    created = format_time(info.created_at) if info.created_at else None
    return {
        "metadata": {
            "name": info.name,
            "namespace": info.namespace,
            "creationTimestamp": created,
            "labels": {**info.labels},
        },
        "spec": {"templateRef": {"name": info.template}, "suspended": info.is_suspended},
        "status": status,
    }
