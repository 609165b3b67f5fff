"""E2B's asynchronous SDK."""

import asyncio
import time

import pytest
from e2b import CommandExitException, NotFoundException, PtySize, TimeoutException
from e2b.sandbox.filesystem.watch_handle import FilesystemEventType
from e2b_code_interpreter import AsyncSandbox

pytestmark = pytest.mark.asyncio


@pytest.fixture
async def sandbox(shared):
    """A connection of this test's event loop to the shared sandbox."""
    return await AsyncSandbox.connect(shared.sandbox_id, timeout=1200)


async def test_the_life_of_a_sandbox(gateway):
    sandbox = await AsyncSandbox.create(timeout=300, metadata={"kind": "async"})
    assert await sandbox.is_running()
    assert (await sandbox.get_info()).metadata == {"kind": "async"}
    await sandbox.set_timeout(600)
    await sandbox.files.write("kept", "1")
    await sandbox.pause()
    assert not await sandbox.is_running()
    again = await AsyncSandbox.connect(sandbox.sandbox_id)
    assert await again.files.read("kept") == "1"
    assert await again.kill()
    assert not await again.is_running()


async def test_code(sandbox):
    lines = []
    execution = await sandbox.run_code("print(1)\n2", on_stdout=lambda message: lines.append(message.line))
    assert (execution.text, "".join(lines)) == ("2", "1\n")
    assert (await sandbox.run_code("1 / 0")).error.name == "ZeroDivisionError"


async def test_contexts_run_at_the_same_time(sandbox):
    contexts = [await sandbox.create_code_context() for _ in range(3)]
    started = time.monotonic()
    await asyncio.gather(*(sandbox.run_code("import time; time.sleep(1.5)", context=each) for each in contexts))
    assert time.monotonic() - started < 3.5
    for each in contexts:
        await sandbox.remove_code_context(each)
    with pytest.raises(NotFoundException):
        await sandbox.run_code("1", context=contexts[0])


async def test_cells_with_variables_at_the_same_time_do_not_mix(sandbox):
    async def read(value):
        code = "import os, time; time.sleep(0.1); os.environ['MINE']"
        return (await sandbox.run_code(code, envs={"MINE": value})).text

    assert await asyncio.gather(*(read(str(n)) for n in range(5))) == list("01234")


async def test_a_cancelled_cell_is_interrupted(sandbox):
    context = await sandbox.create_code_context()
    task = asyncio.create_task(sandbox.run_code("kept = 1\nwhile True: pass", context=context))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(8):
        assert (await sandbox.run_code("kept", context=context)).text == "1"


async def test_commands(sandbox):
    lines = []
    handle = await sandbox.commands.run("echo a; sleep 0.3; echo b", background=True, on_stdout=lines.append)
    assert handle.pid in [each.pid for each in await sandbox.commands.list()]
    assert (await handle.wait()).stdout == "".join(lines) == "a\nb\n"
    with pytest.raises(CommandExitException):
        await sandbox.commands.run("false")
    with pytest.raises(TimeoutException):
        await sandbox.commands.run("sleep 9", timeout=1)


async def test_a_stream_of_input(sandbox):
    handle = await sandbox.commands.run("cat", background=True, stdin=True)
    async with sandbox.commands.stream_input(handle.pid) as stream:
        for n in range(20):
            await stream.send(f"{n}\n")
    await handle.close_stdin()
    assert (await handle.wait()).stdout == "".join(f"{n}\n" for n in range(20))


async def test_kill_and_connect(sandbox):
    handle = await sandbox.commands.run("sleep 60", background=True)
    await handle.disconnect()
    again = await sandbox.commands.connect(handle.pid)
    assert await again.kill()
    with pytest.raises(CommandExitException):
        await again.wait()
    with pytest.raises(NotFoundException):
        await sandbox.commands.connect(handle.pid)


async def test_a_terminal(sandbox):
    output = bytearray()
    terminal = await sandbox.pty.create(PtySize(rows=24, cols=80), on_data=output.extend)
    await sandbox.pty.resize(terminal.pid, PtySize(rows=40, cols=120))
    await sandbox.pty.send_stdin(terminal.pid, b"tput cols; exit\n")
    await terminal.wait()
    assert b"120\r\n" in output


async def test_files(sandbox):
    async def chunks():
        for _ in range(30):
            yield b"x" * 100_000

    await sandbox.files.write("async/a", "text")
    await sandbox.files.write("async/b", chunks())
    assert await sandbox.files.read("async/a") == "text"
    stream = await sandbox.files.read("async/b", format="stream")
    assert sum([len(chunk) async for chunk in stream]) == 3_000_000
    assert [each.name for each in await sandbox.files.list("async")] == ["a", "b"]
    with pytest.raises(NotFoundException):
        await sandbox.files.read("async/missing")
    await sandbox.files.remove("async")


async def test_a_watch_and_its_end(sandbox):
    await sandbox.files.make_dir("watched/sub")
    created, ended, limited = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def note(event):
        if (event.name, event.type) == ("sub/x", FilesystemEventType.CREATE):
            created.set()

    watch = await sandbox.files.watch_dir("watched", on_event=note, on_exit=lambda _error: ended.set(), recursive=True)
    await sandbox.files.write("watched/sub/x", "1")
    async with asyncio.timeout(10):
        await created.wait()
    await watch.stop()
    assert ended.is_set()
    await sandbox.files.watch_dir("watched", on_event=note, on_exit=lambda _error: limited.set(), timeout=1)
    async with asyncio.timeout(5):
        await limited.wait()
    await sandbox.files.remove("watched")
    with pytest.raises(NotFoundException):
        await sandbox.files.watch_dir("watched", on_event=note)


async def test_a_list(sandbox):
    paginator = AsyncSandbox.list()
    assert sandbox.sandbox_id in [each.sandbox_id for each in await paginator.next_items()]
