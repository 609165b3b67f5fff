"""Starts the keeper of a local session, apart from this process, and waits until the session is ready."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING, Final

from sandbox_client.errors import SessionFailed
from sandbox_client.local.named.keeper_calls import error_of
from sandbox_client.local.named.registry import KEEPER_LOCK
from sandbox_client.local.named.state_files import wait_unlocked
from sandbox_client.local.session import inherited_environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOGS: Final = ("keeper", "process_guard", "agent", "runtime", "certificates")
_LAUNCHER: Final = "import os, sys\nif os.fork(): os._exit(0)\nos.execv(sys.argv[1], sys.argv[1:])"
"""Gives the keeper to init, so that a program which runs on need not wait for its end."""
_ENVIRONMENT: Final = ("HOME", "XDG_STATE_HOME", "XDG_DATA_HOME")
_MAX_LOG: Final = 1 << 20
"""Bytes of a log from which a start begins another one."""
_END_TIMEOUT: Final = 20.0


async def launch(folder: Path, on_progress: Callable[[str], object]) -> None:
    """Start the session of a folder and wait until it is ready. If this is cancelled, the session ends again.

    Args:
        folder: The session's folder, with its record.
        on_progress: Called with a description of each step.

    Raises:
        SandboxError: The session did not start.
    """
    _rotate_logs(folder)
    environment = {**inherited_environment(), **{key: os.environ[key] for key in _ENVIRONMENT if key in os.environ}}
    with (folder / "keeper.log").open("ab") as log:
        keeper = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", "-c", _LAUNCHER),
            *(sys.executable, "-m", "sandbox_client.local.named.keeper", str(folder)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
    if keeper.stdin is None or keeper.stdout is None:
        raise AssertionError("both are pipes")
    try:
        await _follow(keeper.stdout, folder, on_progress)
    except BaseException:
        keeper.stdin.close()
        with contextlib.suppress(OSError):
            await asyncio.shield(asyncio.to_thread(wait_unlocked, folder / KEEPER_LOCK, _END_TIMEOUT))
        await keeper.stdout.read()
        raise
    finally:
        keeper.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            await keeper.wait()


async def _follow(lines: asyncio.StreamReader, folder: Path, on_progress: Callable[[str], object]) -> None:
    """Read what the keeper reports. It closes its output when the session is ready. Raises its error."""
    async for line in lines:
        fact = json.loads(line)
        if "error" in fact:
            raise error_of(fact)
        if "step" in fact:
            on_progress(fact["step"])
        if "ready" in fact:
            await lines.read()
            return
    raise SessionFailed(f"the session did not start:\n{_end_of_log(folder)}", reason="PROCESS_EXITED")


def _rotate_logs(folder: Path) -> None:
    for name in LOGS:
        path = folder / f"{name}.log"
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > _MAX_LOG:
                path.replace(folder / f"{name}.log.1")


def _end_of_log(folder: Path) -> str:
    return "\n".join((folder / "keeper.log").read_text(errors="replace").splitlines()[-20:])
