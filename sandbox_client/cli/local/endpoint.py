"""`sandbox endpoint`: tells gRPC clients in any language how to reach a session and how to trust it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sandbox_client.cli.local.sessions import refuse_cluster
from sandbox_client.cli.options import Target, with_session_name, with_target
from sandbox_client.local.address import local_name

if TYPE_CHECKING:
    from sandbox_client.transport.endpoint import Endpoint


@dataclasses.dataclass(frozen=True, slots=True)
class _Access:
    """A session's endpoint, and the files that clients read."""

    session: str
    endpoint: Endpoint
    ca_file: Path
    token_file: Path

    def facts(self, *, has_token: bool) -> dict[str, str]:
        """Return the answer for programs."""
        return {
            "session": self.session,
            "address": self.endpoint.address,
            "server_name": self.endpoint.server_name,
            "ca_file": str(self.ca_file),
            "ca_pem": self.endpoint.ca_certificate.decode(),
            "token_file": str(self.token_file),
            **({"token": self.endpoint.token} if has_token else {}),
        }

    def text(self, *, has_token: bool) -> str:
        """Return the answer for people."""
        lines = [
            f"address:      {self.endpoint.address}",
            f"server name:  {self.endpoint.server_name}",
            f"CA file:      {self.ca_file}",
            f"token file:   {self.token_file}",
        ]
        return "\n".join([*lines, *([f"token:        {self.endpoint.token}"] if has_token else [])])

    def exports(self) -> str:
        """Return lines for a shell. The shell reads the token from its file, so the lines do not contain it."""
        values = {
            "SANDBOX_SESSION": self.session,
            "SANDBOX_ADDRESS": self.endpoint.address,
            "SANDBOX_SERVER_NAME": self.endpoint.server_name,
            "SANDBOX_CA_FILE": str(self.ca_file),
            "SANDBOX_TOKEN_FILE": str(self.token_file),
        }
        lines = [f"export {name}={shlex.quote(value)}" for name, value in values.items()]
        return "\n".join([*lines, f'export SANDBOX_TOKEN="$(cat {shlex.quote(str(self.token_file))})"'])


@click.command(
    epilog="""\b
Examples:
  sandbox endpoint local/demo
  sandbox endpoint my-session --output json
  sandbox endpoint my-session --forward        a port on this machine, until Ctrl-C
  eval "$(sandbox endpoint local/demo --export)"

\b
With --export, the shell has SANDBOX_ADDRESS, SANDBOX_SERVER_NAME,
SANDBOX_CA_FILE, SANDBOX_TOKEN_FILE, SANDBOX_TOKEN and SANDBOX_SESSION."""
)
@with_session_name
@click.option("--export", "exports", is_flag=True, help="Print lines that set variables of a shell.")
@click.option("--show-token", is_flag=True, help="Also print the access token. A client that has it can run code.")
@click.option("--forward", is_flag=True, help="Forward a port of this machine to a session of the cluster.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the two files of a session in the cluster. Default: one in `~/.local/state/sandbox/endpoints`.",
)
@with_target
def endpoint(
    target: Target,
    name: str,
    exports: bool,  # noqa: FBT001 - click passes it by name
    show_token: bool,  # noqa: FBT001 - same
    forward: bool,  # noqa: FBT001 - same
    folder: Path | None,
) -> None:
    """Print what a gRPC client needs to reach the session NAME.

    These are the address, the server name in the agent's certificate, the CA's file, and the access token's file. Only
    this user can read the files. A suspended session is resumed first. Each start of a session changes all values.

    A client verifies the certificate for the server name, because the address is not in it. It sends the token with
    each call, as metadata `authorization: Bearer TOKEN`.
    """
    if exports and target.printer.is_json:
        raise click.UsageError("give either --export or --output json")

    def show(access: _Access) -> None:
        if exports:
            target.printer.print_text(access.exports())
        else:
            target.printer.print(access.facts(has_token=show_token), access.text(has_token=show_token))
        sys.stdout.flush()

    local = local_name(name)
    if local is not None:
        if forward or folder:
            raise click.UsageError("a local session is on loopback and has its own files: no --forward, no --dir")
        show(asyncio.run(_find_local(target, local)))
        return
    if forward and target.cluster.in_cluster:
        raise click.UsageError("give either --direct or --forward")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_show_cluster(target, name, folder, show, is_forwarded=forward))


async def _find_local(target: Target, name: str) -> _Access:
    from sandbox_client.local.named import operations, reports  # noqa: PLC0415 - slow to import

    refuse_cluster(target, name)
    with target.printer.spinner(f"Connecting to local/{name}") as step:
        record, _ = await operations.find_ready(name, on_progress=step)
    return _Access(record.address, reports.endpoint_of(record), *reports.access_files(record))


async def _show_cluster(target: Target, name: str, folder: Path | None, show: Any, *, is_forwarded: bool) -> None:
    from sandbox_client.cluster.sessions import SessionApi  # noqa: PLC0415 - slow to import

    cluster = await SessionApi.open(dataclasses.replace(target.cluster, in_cluster=not is_forwarded))
    with target.printer.spinner(f"Connecting to {name}") as step:
        await cluster.wake(name, timeout=120.0, on_phase=lambda phase: step(f"Resuming {name}: {phase}"))
        found, route = await cluster.connect(name)
    async with route:
        show(_Access(name, found, *_write_files(folder or _default_folder(name, found), found)))
        if is_forwarded:
            target.printer.write_stderr("forwarding until Ctrl-C\n")
            await asyncio.Event().wait()


def _default_folder(name: str, found: Endpoint) -> Path:
    from sandbox_client.local.named.state_files import state_home  # noqa: PLC0415 - only needed here

    # Sessions of other clusters, and later ones, may have the same name.
    digest = hashlib.sha256(found.ca_certificate + found.life.session_uid.encode()).hexdigest()[:8]
    return state_home() / "endpoints" / f"{name}-{digest}"


def _write_files(folder: Path, found: Endpoint) -> tuple[Path, Path]:
    from sandbox_client.local.named.state_files import write_private  # noqa: PLC0415 - only needed here

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = folder.resolve()
    write_private(folder / "ca.crt", found.ca_certificate)
    write_private(folder / "token", found.token.encode())
    return folder / "ca.crt", folder / "token"
