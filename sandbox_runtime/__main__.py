"""`sandbox-runtime`: the process that the sandbox container starts, or a local session as its child."""

from __future__ import annotations

import contextlib
import os
import sys

from sandbox_runtime.interpreters.zygote_protocol import launch_zygote
from sandbox_runtime.javascript import find_node
from sandbox_runtime.linux.syscalls import become_subreaper
from sandbox_runtime.settings import Settings
from sandbox_runtime.user_home import build_environment, prepare_home


def main() -> None:
    """Run the runtime until SIGTERM."""
    settings = Settings.from_environment(os.environ)
    if os.getpid() != 1:
        become_subreaper()
    node = ""
    # Without Node, Python and commands still work.
    with contextlib.suppress(FileNotFoundError):
        node = find_node()
    environment = build_environment(os.environ, settings.home, node)
    settings.workspace.mkdir(parents=True, exist_ok=True)
    prepare_home(settings.home, node)
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
