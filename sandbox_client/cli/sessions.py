"""`sandbox create`, `suspend`, `resume`, `delete` and `logs`: sessions of a cluster, and those on this machine."""

from __future__ import annotations

import asyncio
from typing import Final

import click

from sandbox_client.cli.local import sessions as local
from sandbox_client.cli.options import Target, with_session_name, with_target
from sandbox_client.cluster.sessions import Cluster, SessionRequest, describe_failure
from sandbox_client.errors import SessionFailed
from sandbox_client.local.address import local_name

_TIMEOUT: Final = click.option("--timeout", default=120.0, show_default=True, help="Seconds to wait at most.")


@click.command(
    cls=local.LocalOrCluster,
    epilog="""\b
Examples:
  sandbox create --local demo
  sandbox create my-session
  sandbox create my-session --template data-science --env TZ=UTC --env LEVEL=3""",
)
@click.argument("name", required=False)
@click.option("--template", default="default", show_default=True, help="Name of the SandboxTemplate.")
@click.option(
    "--env", multiple=True, metavar="KEY=VALUE", help="Environment variable for code and commands. May be repeated."
)
@click.option("--keep-variables", is_flag=True, help="Restore Python variables after a suspend (best effort).")
@local.with_local_flag
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until the session is Ready.")
@_TIMEOUT
@with_target
def create(
    target: Target,
    name: str | None,
    template: str,
    env: tuple[str, ...],
    keep_variables: bool,  # noqa: FBT001 - click passes it by name
    wait: bool,  # noqa: FBT001 - same
    timeout: float,
) -> None:
    """Create a session, wait until it is Ready, and print its name.

    Without NAME, the session gets a random name.
    """
    pairs = dict(_pair(word) for word in env)
    spec = {"lifecycle": {"keepVariables": True}} if keep_variables else {}

    async def work() -> str:
        cluster = await Cluster.open(target.cluster)
        session = await cluster.create(SessionRequest(name, template, pairs, spec))
        created = str(session["metadata"]["name"])
        if wait:
            with target.printer.spinner(f"Creating {created}") as step:
                await cluster.wait_ready(
                    created, timeout=timeout, on_phase=lambda phase: step(f"{created}: {phase}"), since=session
                )
        return created

    created = asyncio.run(work())
    target.printer.print({"name": created, "status": "ready" if wait else "created"}, created)


def _pair(word: str) -> tuple[str, str]:
    key, separator, value = word.partition("=")
    if not separator or not key:
        raise click.BadParameter(f"{word!r} is not KEY=VALUE", param_hint="--env")
    return key, value


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
    _change(target, name, "Suspended", timeout)


@click.command(epilog="\b\nExample:\n  sandbox resume my-session")
@with_session_name
@_TIMEOUT
@with_target
def resume(target: Target, name: str, timeout: float) -> None:
    """Start a suspended session again, with its files."""
    if (bare := local_name(name)) is not None:
        local.resume(target, bare)
        return
    _change(target, name, "Ready", timeout)


def _change(target: Target, name: str, phase: str, timeout: float) -> None:
    async def work() -> None:
        cluster = await Cluster.open(target.cluster)
        await cluster.suspend(name, is_suspended=phase == "Suspended")
        with target.printer.spinner(f"{name}: waiting for {phase}") as step:
            session = await cluster.wait_for(
                name,
                lambda seen: seen.get("status", {}).get("phase") in (phase, "Failed"),
                timeout=timeout,
                on_phase=lambda now: step(f"{name}: {now}"),
            )
        if session.get("status", {}).get("phase") != phase:
            raise SessionFailed(f"session {name} is not {phase}: {describe_failure(session)}", reason="NOT_READY")

    asyncio.run(work())
    target.printer.print({"name": name, "status": phase.lower()}, f"{name} is {phase}")


@click.command(epilog="\b\nExample:\n  sandbox delete my-session")
@with_session_name
@with_target
def delete(target: Target, name: str) -> None:
    """Delete a session. Pushed files stay in storage."""
    if (bare := local_name(name)) is not None:
        local.delete(target, bare)
        return

    async def work() -> None:
        await (await Cluster.open(target.cluster)).delete(name)

    asyncio.run(work())
    target.printer.print({"name": name, "status": "deleted"}, f"{name} is being deleted")


@click.command(
    epilog="""\b
Examples:
  sandbox logs my-session
  sandbox logs my-session --container agent --tail 50"""
)
@with_session_name
@click.option("--container", type=click.Choice(["agent", "sandbox"]), help="Default: both.")
@click.option(
    "--tail",
    default=200,
    show_default=True,
    type=click.IntRange(min=1),
    help="Maximum number of lines of each container.",
)
@with_target
def logs(target: Target, name: str, container: str | None, tail: int) -> None:
    """Print the last log lines of a session's containers."""
    if (bare := local_name(name)) is not None:
        local.logs(target, bare, container, tail)
        return
    wanted = [container] if container else ["agent", "sandbox"]

    async def work() -> dict[str, str]:
        cluster = await Cluster.open(target.cluster)
        return {each: await cluster.logs(name, each, tail=tail) for each in wanted}

    texts = asyncio.run(work())
    if target.printer.is_json:
        target.printer.print_json(texts)
        return
    for each, text in texts.items():
        for line in text.splitlines():
            target.printer.print_text(line if container else f"{each}: {line}")
