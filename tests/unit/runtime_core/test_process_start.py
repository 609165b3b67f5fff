"""A start whose call was cancelled before the zygote answered: the process that still appears is ended."""

import asyncio
import sys
from types import SimpleNamespace

import pytest

from sandbox_runtime.interpreters.zygote_client import Child
from sandbox_runtime.processes.start import Command, Starter

STATE = SimpleNamespace(
    env={},
    sockets=None,
    limits=SimpleNamespace(file_bytes=1 << 20),
    environment=dict,
    process_limit=lambda: 0,
)


@pytest.fixture
async def child():
    return Child()


async def test_a_process_that_starts_after_its_call_was_cancelled_is_ended(child):
    zygote, guard = SimpleNamespace(spawn=lambda _request, _descriptors: child), SimpleNamespace(wake=lambda: None)
    starter = Starter(STATE, zygote, guard)
    starting = asyncio.create_task(starter.start(Command(["sleep", "60"], "/", {}), []))
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    code = "import time; time.sleep(60)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, start_new_session=True)
    child.started.set_result(process.pid)
    await asyncio.sleep(0)
    (kill,) = starter._kills
    async with asyncio.timeout(20):
        assert await process.wait() == -9
    await kill
    assert starter._kills == set()


async def test_a_start_that_fails_after_its_call_was_cancelled_needs_nothing(child):
    zygote, guard = SimpleNamespace(spawn=lambda _request, _descriptors: child), SimpleNamespace(wake=lambda: None)
    starter = Starter(STATE, zygote, guard)
    starting = asyncio.create_task(starter.start(Command(["sleep", "60"], "/", {}), []))
    await asyncio.sleep(0)
    starting.cancel()
    await asyncio.wait([starting])
    child.started.set_exception(OSError("no"))
    await asyncio.sleep(0)
    assert starter._kills == set()
