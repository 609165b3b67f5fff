"""`sandbox create`, `suspend`, `resume` and `delete`: sessions of a cluster, and those on this machine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import click

from sandbox_client.cli.gateway import sessions as gateway
from sandbox_client.cli.lifecycle.create_options import with_create_options
from sandbox_client.cli.lifecycle.progress import show_progress
from sandbox_client.cli.lifecycle.timeout import Expiry
from sandbox_client.cli.local import sessions as local
from sandbox_client.cli.options import Target, with_session_name, with_target
from sandbox_client.cluster.client import AsyncCluster
from sandbox_client.cluster.sessions import SessionApi
from sandbox_client.cluster.start_policy import describe_limits
from sandbox_client.local.address import local_name

if TYPE_CHECKING:
    import datetime as dt

    from sandbox_client.cluster.session_request import SessionRequest
    from sandbox_client.lifecycle.durations import Duration

_TIMEOUT: Final = click.option("--timeout", default=120.0, show_default=True, help="Seconds to wait at most.")


@click.command(
    cls=local.LocalOrCluster,
    epilog="""\b
Examples:
  sandbox create --local demo
  sandbox create my-session
  sandbox create my-session --template data-science --env TZ=UTC --label team=a
  sandbox create my-session --memory 4Gi --idle-timeout 1h --lifetime 12h --egress none""",
)
@click.argument("name", required=False)
@with_create_options
@local.with_local_flag
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until the session is Ready.")
@_TIMEOUT
@with_target
def create(target: Target, request: SessionRequest, *, wait: bool, timeout: float) -> None:
    """Create a session, wait until it is Ready, and print its name.

    Without NAME, the session gets a random name, and the operator deletes it some time after it was suspended.
    """

    async def work() -> str:
        with gateway.open_gateway(target) as api:
            if api is not None:
                return await gateway.create(api, request, wait=wait, timeout=timeout)
        cluster = await SessionApi.open(target.cluster)
        session = await cluster.create(request)
        created = str(session["metadata"]["name"])
        if wait:
            with show_progress(target.printer, created, f"Creating {created}") as show:
                session = await cluster.wait_ready(created, timeout=timeout, on_phase=show, since=session)
            if notice := describe_limits(session):
                target.printer.write_stderr(f"{notice}\n")
        return created

    created = asyncio.run(work())
    target.printer.print({"name": created, "status": "ready" if wait else "created"}, created)


@click.command(epilog="\b\nExample:\n  sandbox suspend my-session")
@with_session_name
@_TIMEOUT
@with_target
def suspend(target: Target, name: str, timeout: float) -> None:
    """Save a session's workspace and delete its pod.

    Files are kept. Variables are lost, unless the session keeps them (`sandbox create --keep-variables`).
    """
    if (bare := local_name(name)) is not None:
        local.suspend(target, bare)
        return

    async def work() -> None:
        with show_progress(target.printer, name, f"{name}: waiting for Suspended") as show:
            with gateway.control_of(target, name) as control:
                if control is not None:
                    await control.suspend(timeout)
                    return
            cluster = AsyncCluster(await SessionApi.open(target.cluster))
            await cluster.suspend(name, timeout=timeout, on_phase=show)

    asyncio.run(work())
    target.printer.print({"name": name, "status": "suspended"}, f"{name} is Suspended")


@click.command(
    epilog="""\b
Examples:
  sandbox resume my-session
  sandbox resume my-session --expires 2h"""
)
@with_session_name
@click.option("--expires", type=Expiry(), metavar="TIME", help="New end of the session, as for `sandbox timeout`.")
@_TIMEOUT
@with_target
def resume(target: Target, name: str, expires: Duration | dt.datetime | None, timeout: float) -> None:
    """Start a suspended session again, with its files."""
    if (bare := local_name(name)) is not None:
        local.resume(target, bare, expires)
        return

    async def work() -> None:
        with show_progress(target.printer, name, f"{name}: waiting for Ready") as show:
            with gateway.control_of(target, name) as control:
                if control is not None:
                    await control.resume(expires, timeout)
                    return
            cluster = AsyncCluster(await SessionApi.open(target.cluster))
            await cluster.resume(name, expires=expires, timeout=timeout, on_phase=show)

    asyncio.run(work())
    target.printer.print({"name": name, "status": "ready"}, f"{name} is Ready")


@click.command(epilog="\b\nExample:\n  sandbox delete my-session")
@with_session_name
@with_target
def delete(target: Target, name: str) -> None:
    """Delete a session. Pushed files stay in storage."""
    if (bare := local_name(name)) is not None:
        local.delete(target, bare)
        return

    async def work() -> None:
        with gateway.control_of(target, name) as control:
            if control is not None:
                await control.delete()
                return
        await (await SessionApi.open(target.cluster)).delete(name)

    asyncio.run(work())
    target.printer.print({"name": name, "status": "deleted"}, f"{name} is being deleted")
