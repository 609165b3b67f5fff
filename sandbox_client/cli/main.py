"""The `sandbox` command group. Each command is imported when it is used."""

from __future__ import annotations

from typing import Any, Final

import click

from sandbox_client.cli.options import SharedOptions, shared_options
from sandbox_client.cli.shell.lazy_group import LazyGroup

_CLI: Final = "sandbox_client.cli"
_SESSIONS: Final = f"{_CLI}.sessions"
COMMANDS: Final = {
    "run": (f"{_CLI}.run.command:run", "Run a file, or code, and exit with its exit code."),
    "exec": (f"{_CLI}.exec:exec_", "Run COMMAND and exit with its exit code."),
    "ps": (f"{_CLI}.processes:ps", "List background processes, with their tags in brackets."),
    "attach": (f"{_CLI}.processes:attach", "Attach to the background process ID."),
    "kill": (f"{_CLI}.processes:kill", "Send a signal to background processes."),
    "create": (f"{_SESSIONS}:create", "Create a session, wait until it is Ready, and print its name."),
    "get": (f"{_CLI}.cluster.get:get", "Show the sessions of a namespace, or those that are named."),
    "list": (f"{_CLI}.cluster.get:list_", "List the sessions of a namespace."),
    "describe": (
        f"{_CLI}.cluster.describe:describe",
        "Show everything that the cluster, or this machine, knows about a session.",
    ),
    "top": (f"{_CLI}.top:top", "Show a live table of sessions and warm pools."),
    "suspend": (f"{_SESSIONS}:suspend", "Save a session's workspace and delete its pod."),
    "resume": (f"{_SESSIONS}:resume", "Start a suspended session again, with its files."),
    "timeout": (
        f"{_CLI}.lifecycle.timeout:timeout",
        "Move the time at which a session ends: later or earlier, while it runs or is suspended.",
    ),
    "workspaces": (
        f"{_CLI}.lifecycle.workspaces:workspaces",
        "List, inspect and delete the workspaces that sessions have left in storage.",
    ),
    "delete": (f"{_SESSIONS}:delete", "Delete a session."),
    "logs": (f"{_CLI}.cluster.logs:logs", "Print the last log lines of a session's containers."),
    "doctor": (f"{_CLI}.doctor:doctor", "Check the cluster, the chart, the network, storage and your permissions."),
    "files": (
        f"{_CLI}.files:files",
        "Work with the files of a session: its workspace and, by absolute paths, /tmp and the home folder.",
    ),
    "push": (f"{_CLI}.files:push", "Save PATHS of a session to its object storage."),
    "endpoint": (
        f"{_CLI}.local.endpoint:endpoint",
        "Print what a gRPC client needs to reach the session NAME.",
    ),
    "mcp": (f"{_CLI}.mcp:mcp", "Serve the sandbox tools over the Model Context Protocol."),
    "gateway": (f"{_CLI}.gateway.command:gateway", "Serve sessions to clients of several protocols at one address."),
    "keys": (f"{_CLI}.gateway.keys:keys", "Create, list and revoke the API keys of a gateway in a cluster."),
    "completion": (f"{_CLI}.shell.completion:completion", "Print the script that completes words in a shell."),
}
"""The place of each command, and its first sentence of help. Tests compare both with the commands."""


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Examples:
  sandbox run script.py                          on this machine
  sandbox create my-session                      in the cluster
  sandbox run --session my-session script.py
  sandbox exec --session my-session -it -- bash
  sandbox get -A -o wide
  sandbox push my-session && sandbox suspend my-session
  sandbox create --local demo                    on this machine, as local/demo

\b
Exit codes:
  of the code     `run`, `exec` and `attach` exit as the code did; 128 + N if
                  signal N ended it
  1    a search found nothing, or a push has left files out
  2    the command line is wrong
  124  the code hit its time limit
  125  the command itself failed
  126  the program cannot be executed
  127  there is no such program

`sbx` is the same command, for systems that have another one called `sandbox`.""",
)
@click.version_option(package_name="sandbox-operator")
@click.option("-A", "--all-namespaces", is_flag=True, help="For `get`, `list` and `top`: all namespaces.")
@shared_options
@click.pass_context
def main(context: click.Context, /, all_namespaces: bool, **options: Any) -> None:  # noqa: FBT001 - click passes it by name
    """Run code in sessions, on this machine or in a cluster.

    `run`, `exec` and `mcp` start a local session unless --session names one. A local session does not isolate anything:
    the code runs as your user, so use it only for code that you trust. A session of the cluster runs in a pod of its
    own.
    """
    context.obj = SharedOptions(all_namespaces=all_namespaces, **options)
