"""`sandbox-runtime`: the process that the sandbox container starts, and that a local session starts as its child."""

from __future__ import annotations

import contextlib
import os
import sys

from sandbox_runtime import user_home as home
from sandbox_runtime.interpreters.zygote_protocol import launch_zygote
from sandbox_runtime.javascript import find_node
from sandbox_runtime.linux import syscalls as kernel
from sandbox_runtime.settings import Settings


def main() -> None:
    """Run the runtime until SIGTERM."""
    settings = Settings.from_environment(os.environ)
    if os.getpid() != 1:
        kernel.become_subreaper()
    node = ""
    # Without Node the other languages still work.
    with contextlib.suppress(FileNotFoundError):
        node = find_node()
    environment = home.build_environment(os.environ, settings.home, node)
    settings.workspace.mkdir(parents=True, exist_ok=True)
    home.prepare_home(settings.home, node)
    light = launch_zygote((), environment)
    # Late, so that the zygote starts while this process imports asyncio and the rest.
    import asyncio  # noqa: PLC0415

    from sandbox_runtime.supervisor import Supervisor  # noqa: PLC0415

    async def serve() -> None:
        await Supervisor(settings, environment, node, light).run()

    asyncio.run(serve())


if __name__ == "__main__":
    main()
    sys.exit(0)
