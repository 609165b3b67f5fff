"""The `sandbox` command group."""

from __future__ import annotations

import click

from sandbox_client.cli import processes, sessions
from sandbox_client.cli.doctor import doctor
from sandbox_client.cli.exec import exec_
from sandbox_client.cli.files import files, push
from sandbox_client.cli.mcp import mcp
from sandbox_client.cli.run import run
from sandbox_client.cli.top import top
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
Exit codes:
  0  success
  1  the code or the call failed
  2  the command line is wrong
  3  no sandbox is available
  `exec` and `attach` exit with the exit code of the command.""",
)
@click.version_option(package_name="sandbox-operator")
def main() -> None:
    """Run code in isolated sessions, on this machine or in a cluster.

    `run`, `exec` and `mcp` start a local session unless --session names one in the cluster. A local session does not
    isolate anything: use it only for code that you trust.
    """
    tracing.start_where_configured("sandbox-cli")


for _command in (
    run,
    exec_,
    processes.ps,
    processes.attach,
    processes.kill,
    sessions.create,
    sessions.list_,
    top,
    sessions.suspend,
    sessions.resume,
    sessions.delete,
    sessions.logs,
    doctor,
    files,
    push,
    mcp,
):
    main.add_command(_command)
