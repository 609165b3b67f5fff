"""The agent's services over the real runtime: both as processes, as in a pod."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from contextlib import asynccontextmanager

import grpc
import pytest

from sandbox_agent.server.local_certificates import issue_local_certificates
from sandbox_proto.v1 import (
    file_pb2,
    file_pb2_grpc,
    interpreter_pb2,
    interpreter_pb2_grpc,
    process_pb2,
    process_pb2_grpc,
    session_pb2,
    session_pb2_grpc,
    types_pb2,
)

TOKEN = "integration"
SERVER_NAME = "agent.test"


@asynccontextmanager
async def child(module, *arguments, **environment):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *arguments,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def appears(path, process):
    while not path.exists():
        assert process.returncode is None
        await asyncio.sleep(0.02)


def secure_channel(port, folder, token=None, client=None):
    pair = [(folder / f"{client}.{end}").read_bytes() for end in ("key", "crt")] if client else [None, None]
    credentials = grpc.ssl_channel_credentials((folder / "ca.crt").read_bytes(), *pair)
    if token:
        credentials = grpc.composite_channel_credentials(credentials, grpc.access_token_call_credentials(token))
    return grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, [("grpc.ssl_target_name_override", SERVER_NAME)])


@pytest.fixture
async def sandbox(tmp_path):
    """A bound session; yields its client channel, its control stub and a function that kills the agent's runtime."""
    issue_local_certificates(tmp_path / "tls", SERVER_NAME)
    for name in ("link", "workspace", "home"):
        (tmp_path / name).mkdir()
    environment = {
        "SANDBOX_LINK_DIR": str(tmp_path / "link"),
        "SANDBOX_WORKSPACE": str(tmp_path / "workspace"),
        "SANDBOX_HOME": str(tmp_path / "home"),
        "SANDBOX_ZYGOTE_PRELOAD": "",
        "SANDBOX_TLS_DIR": str(tmp_path / "tls"),
        "SANDBOX_LISTEN_ADDRESS": "127.0.0.1",
        "SANDBOX_GRPC_PORT": "0",
        "SANDBOX_CONTROL_PORT": "0",
        "SANDBOX_HEALTH_PORT": "0",
        "SANDBOX_READY_FILE": str(tmp_path / "ready.json"),
    }
    async with (
        child("sandbox_runtime", **environment) as runtime,
        child("sandbox_agent", "serve", **environment) as agent,
    ):
        await appears(tmp_path / "link" / "runtime.sock", runtime)
        await appears(tmp_path / "ready.json", agent)
        ports = json.loads((tmp_path / "ready.json").read_text())
        async with (
            secure_channel(ports["control_port"], tmp_path / "tls", client="operator") as control,
            secure_channel(ports["grpc_port"], tmp_path / "tls", token=TOKEN) as channel,
        ):
            stub = session_pb2_grpc.SessionServiceStub(control)
            store = session_pb2.DirectoryStore(path=str(tmp_path / "store"))
            await stub.Bind(
                session_pb2.BindRequest(
                    session_uid="uid",
                    session_name="local/one",
                    token_sha256=hashlib.sha256(TOKEN.encode()).digest(),
                    workspace=session_pb2.WorkspaceBinding(directory=store, key_prefix="p/"),
                )
            )
            yield channel, stub


async def run_cell(channel, code, language=types_pb2.LANGUAGE_PYTHON, **fields):
    stub = interpreter_pb2_grpc.InterpreterServiceStub(channel)
    request = interpreter_pb2.ExecuteRequest(code=code, language=language, **fields)
    return [event async for response in stub.Execute(request) for event in response.events]


def output_of(events):
    return b"".join(event.output.data for event in events if event.HasField("output"))


async def test_cells_keep_their_variables_and_report_errors(sandbox):
    channel, _ = sandbox
    assert output_of(await run_cell(channel, "x = 41\nprint(x)")) == b"41\n"
    events = await run_cell(channel, "x + 1")
    assert [event.result.data["text/plain"] for event in events if event.HasField("result")] == [b"42"]
    failed = await run_cell(channel, "1/0")
    assert [event.error.name for event in failed if event.HasField("error")] == ["ZeroDivisionError"]
    assert failed[-1].completed.status == types_pb2.EXIT_STATUS_ERROR


async def test_javascript_and_typescript_share_a_context(sandbox):
    channel, _ = sandbox
    await run_cell(channel, "const a = 20", types_pb2.LANGUAGE_JAVASCRIPT)
    events = await run_cell(channel, "const b: number = a + 1; console.log(b)", types_pb2.LANGUAGE_TYPESCRIPT)
    assert output_of(events) == b"21\n"


async def test_a_timeout_ends_the_cell_and_keeps_the_context_usable(sandbox):
    channel, _ = sandbox
    events = await run_cell(channel, "while True: pass", timeout={"nanos": 300_000_000})
    assert events[-1].completed.status == types_pb2.EXIT_STATUS_TIMED_OUT
    assert output_of(await run_cell(channel, "print('still here')")) == b"still here\n"


async def test_an_interrupt_keeps_variables(sandbox):
    channel, _ = sandbox
    stub = interpreter_pb2_grpc.InterpreterServiceStub(channel)
    call = stub.Execute(
        interpreter_pb2.ExecuteRequest(
            code="kept = 1\nprint('go', flush=True)\nwhile True: pass", language=types_pb2.LANGUAGE_PYTHON
        )
    )
    last = None
    async for response in call:
        for event in response.events:
            last = event
            if event.HasField("output"):
                await stub.Interrupt(interpreter_pb2.InterruptRequest(context_id="python"))
    assert last.completed.status == types_pb2.EXIT_STATUS_INTERRUPTED
    assert output_of(await run_cell(channel, "print(kept)")) == b"1\n"


async def test_commands_and_files_share_the_workspace(sandbox):
    channel, _ = sandbox
    files = file_pb2_grpc.FileServiceStub(channel)
    content = os.urandom(3_000_000)
    parts = [file_pb2.WriteRequest(data=content[at : at + 700_000]) for at in range(0, len(content), 700_000)]
    written = await files.Write(iter([file_pb2.WriteRequest(open={"path": "a/b.bin"}), *parts]))
    assert written.sha256 == hashlib.sha256(content).hexdigest()
    commands = process_pb2_grpc.ProcessServiceStub(channel)
    request = process_pb2.RunRequest(shell="sha256sum a/b.bin; exit 3")
    events = [event async for response in commands.Run(request) for event in response.events]
    assert output_of(events).startswith(written.sha256.encode())
    assert events[-1].exited.exit_code == 3
    read = b"".join([part.data async for part in files.Read(file_pb2.ReadRequest(path="a/b.bin", offset=10))])
    assert read == content[10:]
    listed = await files.List(file_pb2.ListFilesRequest(path=".", depth=2))
    assert [info.path for info in listed.files] == ["a", "a/b.bin"]
    assert (await files.Stat(file_pb2.StatRequest(path="a/b.bin"))).size == 3_000_000
    await files.Move(file_pb2.MoveRequest(source="a/b.bin", destination="c.bin"))
    await files.Remove(file_pb2.RemoveRequest(path="a", recursive=True))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await files.Stat(file_pb2.StatRequest(path="a"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_write_that_breaks_off_leaves_the_old_file(sandbox):
    channel, _ = sandbox
    files = file_pb2_grpc.FileServiceStub(channel)
    opening = file_pb2.WriteRequest(open={"path": "kept.txt"})
    await files.Write(iter([opening, file_pb2.WriteRequest(data=b"old")]))
    for _ in range(100):
        call = files.Write()
        await call.write(opening)
        await call.write(file_pb2.WriteRequest(data=b"new"))
        call.cancel()
    read = b"".join([part.data async for part in files.Read(file_pb2.ReadRequest(path="kept.txt"))])
    assert read == b"old"


async def test_contexts_come_and_go(sandbox):
    channel, _ = sandbox
    stub = interpreter_pb2_grpc.InterpreterServiceStub(channel)
    made = await stub.CreateContext(
        interpreter_pb2.CreateContextRequest(language=types_pb2.LANGUAGE_PYTHON, env={"A": "1"})
    )
    events = await run_cell(channel, "import os; print(os.environ['A'])", 0, context_id=made.id)
    assert output_of(events) == b"1\n"
    assert made.id in [
        context.id for context in (await stub.ListContexts(interpreter_pb2.ListContextsRequest())).contexts
    ]
    await stub.DeleteContext(interpreter_pb2.DeleteContextRequest(context_id=made.id))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await run_cell(channel, "1", 0, context_id=made.id)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_drain_makes_the_workspace_durable(sandbox, tmp_path):
    channel, control = sandbox
    await run_cell(channel, "open('result.txt', 'w').write('42')")
    description = await control.Drain(session_pb2.DrainRequest(session_uid="uid", grace={"seconds": 10}))
    assert description.state == session_pb2.SessionDescription.STATE_DRAINED
    assert (description.workspace.generation, description.workspace.files) == (1, 1)
    assert (tmp_path / "store" / "p" / "code-interpreter" / "result.txt").read_text() == "42"
