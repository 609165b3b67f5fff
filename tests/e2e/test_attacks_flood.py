"""Attacks by many connections, many streams, and readers that do not read: row 32.

Each is tried under runc, runc with a user namespace, and gVisor. The memory of the agent is not measured under gVisor,
where it is no process of the node.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import grpc
import pytest

from sandbox_proto.v1 import file_pb2, interpreter_pb2, process_pb2
from tests.e2e.support.wire import Wire, explain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.support.arena import Arena

MIB = 1 << 20
FLOODING, CONNECTIONS = 4, 20_000
FLOOD = f"""
import os, resource, socket
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 12000), hard))
for _ in range({FLOODING - 1}):
    if os.fork() == 0:
        break
kept, refused = [], 0
for number in range({CONNECTIONS // FLOODING}):
    try:
        kept.append(socket.create_connection(("127.0.0.1", (8443, 8444, 8081)[number % 3]), timeout=2))
    except PermissionError:
        raise
    except OSError:
        refused += 1
print(len(kept), refused, flush=True)
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
"""
STREAMS, CHANNELS = 10_000, 20
READERS = 32


@pytest.fixture(scope="module")
def wire(arena: Arena) -> Iterator[Wire]:
    """The hostile session's agent, called without the SDK."""
    wire = Wire(arena.sessions, arena.name)
    yield wire
    wire.close()


def test_attack_32_idle_connections_of_user_code_do_not_end_its_agent(arena: Arena):
    """After 20,000 connections without a token to its three ports, the agent is the same process and answers."""
    arena.attacker.files.write("flood.py", FLOOD)
    with arena.unharmed(f"{CONNECTIONS} idle connections"):
        done = arena.attacker.run("python3 flood.py", timeout=120)
    counts = [[int(word) for word in line.split()] for line in done.stdout.splitlines()]
    assert sum(map(sum, counts)) == CONNECTIONS, done
    assert sum(opened for opened, _ in counts) > CONNECTIONS // 2, "nothing was attacked"
    with arena.sessions.connect(arena.name, is_direct=True) as sandbox:
        assert sandbox.run_code("print(2)").stdout == "2\n"
    if arena.has_process_of_agent:
        assert arena.peak_of_agent() < 256 * MIB


async def count_streams(wire: Wire) -> tuple[int, set[tuple[str, str]]]:
    """Open streams that stay open; how many are served after some seconds, and how the others ended."""
    credentials = grpc.ssl_channel_credentials(wire.authority.encode())
    options = [
        ("grpc.ssl_target_name_override", wire.server_name),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_http_proxy", 0),
    ]
    request = file_pb2.WatchRequest(path=".").SerializeToString()
    metadata = (("authorization", f"Bearer {wire.token}"),)
    served, ends = 0, set()

    async def stream(channel: grpc.aio.Channel) -> None:
        nonlocal served
        call = channel.unary_stream("/sandbox.v1.FileService/Watch")(request, metadata=metadata, timeout=8)
        try:
            async for _ in call:
                served += 1
        except grpc.aio.AioRpcError as error:
            ends.add(explain(error)[:2])

    async with contextlib.AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(grpc.aio.secure_channel(wire.address, credentials, options))
            for _ in range(CHANNELS)
        ]
        await asyncio.gather(*(stream(channels[number % CHANNELS]) for number in range(STREAMS)))
    return served, ends


def test_attack_32_ten_thousand_streams_are_capped(arena: Arena, wire: Wire):
    """Those above the cap are told so, and the session serves other calls meanwhile and afterwards."""
    with arena.unharmed(f"{STREAMS} streams"):
        served, ends = asyncio.run(count_streams(wire))
    print(f"\n{served} streams of {STREAMS} were served; the others: {ends}")  # noqa: T201 - a measurement, for people
    assert 0 < served <= 1024
    # The agent's cap on calls, or the kernel's on watches, whichever is met first.
    assert {("RESOURCE_EXHAUSTED", "TOO_MANY_CALLS"), ("RESOURCE_EXHAUSTED", "TOO_MANY_FILES")} & ends


def test_attack_32_readers_that_do_not_read_are_bounded(arena: Arena, wire: Wire):
    """Commands, cells and reads of a large file whose callers take nothing cost the agent a bounded memory."""
    arena.attacker.run("head -c 300M /dev/zero > large.bin")
    metadata = (("authorization", f"Bearer {wire.token}"),)
    run = process_pb2.RunRequest(shell="head -c 200M /dev/zero", end_with_client=True)
    read = file_pb2.ReadRequest(path="large.bin")
    cell = interpreter_pb2.ExecuteRequest(code="print('x' * (64 << 20))")
    requests = {"ProcessService/Run": run, "FileService/Read": read, "InterpreterService/Execute": cell}
    with arena.unharmed(f"{READERS} slow readers"), contextlib.ExitStack() as stack:
        calls = []
        for number in range(READERS):
            method, request = list(requests.items())[number % len(requests)]
            channel = stack.enter_context(wire.open())
            call = channel.unary_stream(f"/sandbox.v1.{method}")(
                request.SerializeToString(), metadata=metadata, timeout=60
            )
            stack.callback(call.cancel)
            calls.append(call)
        # Enough time for the agent to take in all that it ever would.
        assert arena.neighbour.run("sleep 5").ok
        assert arena.attacker.run("echo served").stdout == "served\n"
    arena.attacker.run("rm large.bin")
    if arena.has_process_of_agent:
        assert arena.peak_of_agent() < 448 * MIB
