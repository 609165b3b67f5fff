"""The `sandbox` command group."""

from __future__ import annotations

import click

from sandbox_client.cli import (
    exec as commands,
)
from sandbox_client.cli import (
    files as filing,
)
from sandbox_client.cli import (
    mcp as serving,
)
from sandbox_client.cli import (
    processes,
    sessions,
    top,
)
from sandbox_client.cli import (
    run as running,
)
from sandbox_proto import tracing


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Examples:
  sandbox run script.py                          in a local session
  sandbox create my-session                      in the cluster
  sandbox run --session my-session script.py
  sandbox exec --session my-session -it -- bash
  sandbox push my-session && sandbox suspend my-session

\b
Exit codes: 0 done, 1 the code or the call failed, 2 the command line is wrong, 3 no sandbox to talk to;
`exec` exits with the command's own.""",
)
@click.version_option(package_name="sandbox-operator")
def main() -> None:
    """Run code in isolated sessions, on this machine or in a cluster."""
    tracing.start_where_configured("sandbox-cli")


for _command in (
    running.run,
    commands.exec_,
    processes.ps,
    processes.attach,
    processes.kill,
    sessions.create,
    sessions.list_,
    top.top,
    sessions.suspend,
    sessions.resume,
    sessions.delete,
    sessions.logs,
    filing.files,
    filing.push,
    serving.mcp,
):
    main.add_command(_command)
