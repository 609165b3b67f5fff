"""`sandbox logs`: what the containers of a session, or the processes of a local one, have logged."""

from __future__ import annotations

import asyncio
import queue
import threading
from typing import TYPE_CHECKING, Any, Final

import click

from sandbox_client.cli.gateway.sessions import open_gateway
from sandbox_client.cli.options import Target, with_session_name, with_target
from sandbox_client.cluster.logs import follow_logs, read_logs
from sandbox_client.cluster.sessions import SessionApi
from sandbox_client.errors import NotSupported
from sandbox_client.local.address import local_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CONTAINERS: Final = ("agent", "sandbox")


@click.command(
    epilog="""\b
Examples:
  sandbox logs my-session
  sandbox logs -f my-session
  sandbox logs my-session --container agent --tail 50"""
)
@with_session_name
@click.option("-f", "--follow", is_flag=True, help="Print new lines as they come, until the pod ends, or Ctrl-C.")
@click.option("--container", type=click.Choice(_CONTAINERS), help="Default: both.")
@click.option(
    "--tail",
    default=200,
    show_default=True,
    type=click.IntRange(min=1),
    help="Maximum number of lines of each container.",
)
@with_target
def logs(target: Target, name: str, follow: bool, container: str | None, tail: int) -> None:  # noqa: FBT001 - click passes it by name
    """Print the last log lines of a session's containers.

    With --follow, the log of a session on this machine ends when the session is deleted.
    """
    if follow and target.printer.is_json:
        raise click.UsageError(f"--follow prints lines, so it cannot be combined with --output {target.printer.form}")
    wanted = [container] if container else list(_CONTAINERS)
    bare = local_name(name)
    if follow:
        lines = _follow_local(target, bare, container, tail) if bare else _follow(target, name, wanted, tail)
        _print(target, lines, container)
        target.printer.write_stderr(f"the log has ended: {name} {'is deleted' if bare else 'has lost its pod'}\n")
        return
    texts = _read_local(target, bare, container, tail) if bare else asyncio.run(_read(target, name, wanted, tail))
    if target.printer.is_json:
        target.printer.print_json(texts)
    else:
        _print(target, ((each, line) for each, text in texts.items() for line in text.splitlines()), container)


def _print(target: Target, lines: Iterator[tuple[str, str]], container: str | None = None) -> None:
    for each, line in lines:
        target.printer.write_stdout(f"{line}\n" if container else f"{each}: {line}\n")


async def _read(target: Target, name: str, containers: list[str], tail: int) -> dict[str, str]:
    with open_gateway(target) as api:
        if api is not None:
            texts = await api.logs(name, tail)
            return {each: text for each, text in texts.items() if each in containers}
    return await read_logs(await SessionApi.open(target.cluster), name, containers, tail=tail)


def _read_local(target: Target, name: str, container: str | None, tail: int) -> dict[str, str]:
    texts = _local_reports(target, name).read_logs(name, tail)
    return {each: text for each, text in texts.items() if container in (None, each)}


def _follow_local(target: Target, name: str, container: str | None, tail: int) -> Iterator[tuple[str, str]]:
    lines = _local_reports(target, name).follow_logs(name, tail)
    return (line for line in lines if container in (None, line[0]))


def _local_reports(target: Target, name: str) -> Any:
    """Return the module that reads the logs of a local session, unless an option chooses a cluster."""
    from sandbox_client.cli.local.sessions import refuse_cluster  # noqa: PLC0415 - only for local sessions
    from sandbox_client.local.named import reports  # noqa: PLC0415 - same

    refuse_cluster(target, name)
    return reports


def _follow(target: Target, name: str, containers: list[str], tail: int) -> Iterator[tuple[str, str]]:
    """Yield the lines of all containers as they come."""

    async def connect() -> Mapping[str, Iterator[str]]:
        with open_gateway(target) as api:
            if api is not None:
                message = "a gateway does not follow logs: leave out --follow"
                raise NotSupported(message, reason="NOT_SUPPORTED", field="follow")
        return await follow_logs(await SessionApi.open(target.cluster), name, containers, tail=tail)

    arrived: queue.SimpleQueue[tuple[str, str | Exception | None]] = queue.SimpleQueue()

    def read(container: str, lines: Iterator[str]) -> None:
        try:
            for line in lines:
                arrived.put((container, line))
        except Exception as error:  # noqa: BLE001 - raised again where the lines are printed
            arrived.put((container, error))
        arrived.put((container, None))

    streams = asyncio.run(connect())
    for container, lines in streams.items():
        # Ctrl-C must not wait for a line.
        threading.Thread(target=read, args=(container, lines), daemon=True).start()
    left = len(streams)
    while left:
        container, line = arrived.get()
        if isinstance(line, Exception):
            raise line
        if line is None:
            left -= 1
        else:
            yield container, line
