"""HTTP/2 attacks on both ports of an agent's own process: its memory stays bounded, and its callers are served."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest

from sandbox_proto.v1 import interpreter_pb2, interpreter_pb2_grpc, session_pb2, session_pb2_grpc
from tests.support import raw_http2
from tests.support.raw_http2 import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    RawHttp2,
    frame,
    headers,
    request,
)

TOKEN = "t" * 43
LIST = "/sandbox.v1.InterpreterService/ListContexts"
CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
MEMORY = 192 << 20
"""Bytes that an attack may cost."""
SERVED_WITHIN = 10.0
SECONDS = 3.0
"""How long an attack lasts at most."""


@pytest.fixture
async def process(runtime, certificates, tmp_path, scripted, bind_request, channel_options):
    """An agent in a process of its own, bound to a session, and a caller that was there before the attack."""
    runtime.handlers["context.list"] = scripted.answer({"contexts": []})
    ready = tmp_path / "ready.json"
    environment = {
        **os.environ,
        "SANDBOX_LINK_DIR": str(tmp_path),
        "SANDBOX_TLS_DIR": str(certificates),
        "SANDBOX_LISTEN_ADDRESS": "127.0.0.1",
        "SANDBOX_READY_FILE": str(ready),
        **dict.fromkeys(("SANDBOX_GRPC_PORT", "SANDBOX_CONTROL_PORT", "SANDBOX_HEALTH_PORT"), "0"),
    }
    command = [sys.executable, "-m", "sandbox_agent", "serve"]
    agent = await asyncio.create_subprocess_exec(*command, env=environment, stderr=subprocess.DEVNULL)
    try:
        async with asyncio.timeout(30):
            while not ready.exists():  # noqa: ASYNC110 - a file sets no event
                await asyncio.sleep(0.02)
        ports = json.loads(ready.read_text())
        credentials, options = channel_options(None, certificates, "operator")
        async with grpc.aio.secure_channel(f"127.0.0.1:{ports['control_port']}", credentials, options) as control:
            await session_pb2_grpc.SessionServiceStub(control).Bind(bind_request)
            credentials, options = channel_options(TOKEN, certificates, None)
            async with grpc.aio.secure_channel(f"127.0.0.1:{ports['grpc_port']}", credentials, options) as caller:
                stubs = (
                    interpreter_pb2_grpc.InterpreterServiceStub(caller),
                    session_pb2_grpc.SessionServiceStub(control),
                )
                process = SimpleNamespace(pid=agent.pid, certificates=certificates, stubs=stubs, **without_pid(ports))
                await is_served(process)
                yield process
    finally:
        agent.send_signal(signal.SIGKILL)
        await agent.wait()


def without_pid(ports):
    return {name: port for name, port in ports.items() if name != "pid"}


async def is_served(process):
    """Make a call on each port. A client repeats such calls, as a busy agent may cancel one."""
    for attempt in range(3):
        try:
            await call_both_ports(process)
        except grpc.aio.AioRpcError:
            if attempt == 2:
                raise
        else:
            break


async def call_both_ports(process):
    interpreter, session = process.stubs
    await interpreter.ListContexts(interpreter_pb2.ListContextsRequest(), timeout=SERVED_WITHIN)
    await session.Describe(session_pb2.DescribeRequest(), timeout=SERVED_WITHIN)


def memory(process) -> int:
    (line,) = [each for each in Path(f"/proc/{process.pid}/status").read_text().splitlines() if "VmRSS" in each]
    return int(line.split()[1]) << 10


def descriptors(process) -> int:
    return len(list(Path(f"/proc/{process.pid}/fd").iterdir()))


def repeat(connection, make, until):
    """Send pieces until the time is over or the other side takes no more."""
    number = 0
    while time.monotonic() < until and connection.send(b"".join(make(number + each) for each in range(100))):
        number += 100


def stream(number: int) -> int:
    return 2 * number + 1


def rapid_reset(connection, until):
    connection.greet()
    head = request(LIST)
    cancel = struct.pack("!I", 8)
    repeat(
        connection,
        lambda n: frame(HEADERS, END_HEADERS, stream(n), head) + frame(RST_STREAM, 0, stream(n), cancel),
        until,
    )


def empty_continuations(connection, until):
    connection.greet()
    connection.send(frame(HEADERS, 0, 1, request(LIST)))
    repeat(connection, lambda _: frame(CONTINUATION, 0, 1), until)


def one_byte_headers(connection, until):
    """Headers that are one byte each on the wire and a hundred in memory, in a block that never ends."""
    connection.greet()
    connection.send(frame(HEADERS, 0, 1, request(LIST) + b"\x40\x01a\x00"))
    repeat(connection, lambda _: frame(CONTINUATION, 0, 1, b"\xbe" * 16_000), until)


def short_headers(connection, until):
    connection.greet()
    connection.send(frame(HEADERS, 0, 1, request(LIST)))
    repeat(connection, lambda _: frame(CONTINUATION, 0, 1, headers([("a", "b")] * 3000)), until)


def a_header_that_never_ends(connection, until):
    connection.greet()
    connection.send(frame(HEADERS, 0, 1, request(LIST) + b"\0\x05x-pad\x7f\x81\xff\xff\x03"))
    repeat(connection, lambda _: frame(CONTINUATION, 0, 1, b"y"), until)


def many_settings(connection, until):
    connection.greet()
    repeat(connection, lambda _: frame(SETTINGS, 0, 0, struct.pack("!HI", INITIAL_WINDOW, 65535)), until)


def many_pings(connection, until):
    connection.greet()
    repeat(connection, lambda n: frame(PING, 0, 0, struct.pack("!Q", n)), until)


def ten_thousand_streams(connection, until):
    connection.greet()
    repeat(connection, lambda n: frame(HEADERS, END_HEADERS, stream(n), request(LIST)), until)


def watches_that_nobody_reads(connection, until):
    """Streams with answers, and a window of zero."""
    connection.greet(struct.pack("!HI", INITIAL_WINDOW, 0))
    ask = struct.pack("!BI", 0, 0)
    repeat(
        connection,
        lambda n: frame(HEADERS, END_HEADERS, stream(n), request(WATCH)) + frame(DATA, END_STREAM, stream(n), ask),
        until,
    )


def header_flood(connection, until):
    """Large headers in each of many calls."""
    connection.greet()
    head = request(LIST) + headers([("x-pad", "y" * 4000)] * 4)
    repeat(connection, lambda n: frame(HEADERS, END_HEADERS | END_STREAM, stream(n), head), until)


def empty_data(connection, until):
    connection.greet()
    connection.send(frame(HEADERS, END_HEADERS, 1, request(LIST)))
    repeat(connection, lambda _: frame(DATA, 0, 1), until)


def priorities(connection, until):
    connection.greet()
    repeat(connection, lambda n: frame(PRIORITY, 0, stream(n), struct.pack("!IB", 0, 1)), until)


def windows(connection, until):
    connection.greet()
    repeat(connection, lambda _: frame(WINDOW_UPDATE, 0, 0, struct.pack("!I", 1)), until)


def huge_frame(connection, until):
    """A frame that announces 16 MiB."""
    connection.greet()
    connection.send(b"\xff\xff\xff" + frame(DATA, 0, 1)[3:])
    repeat(connection, lambda _: b"x" * 4096, until)


def a_message_of_4_gib(connection, until):
    connection.greet()
    connection.send(frame(HEADERS, END_HEADERS, 1, request(CHECK)))
    connection.send(frame(DATA, 0, 1, struct.pack("!BI", 0, 0xFFFFFFFF)))
    repeat(connection, lambda _: frame(DATA, 0, 1, b"x" * 16_000), until)


def half_a_preface(connection, until):
    connection.send(raw_http2.PREFACE[:10])
    time.sleep(max(0.0, min(1.0, until - time.monotonic())))


ATTACKS = (
    rapid_reset,
    empty_continuations,
    one_byte_headers,
    short_headers,
    a_header_that_never_ends,
    many_settings,
    many_pings,
    ten_thousand_streams,
    watches_that_nobody_reads,
    header_flood,
    empty_data,
    priorities,
    windows,
    huge_frame,
    a_message_of_4_gib,
    half_a_preface,
)


def attack(process, attack, port, connections=4):
    """Run an attack over some connections, one after the other, each for a part of the time."""
    for _ in range(connections):
        with contextlib.suppress(OSError), RawHttp2(port) as connection:
            connection.socket.settimeout(0.5)
            attack(connection, time.monotonic() + SECONDS / connections)


@pytest.mark.parametrize("port", ["grpc_port", "control_port"])
async def test_an_attack_over_http2_costs_little_memory_and_callers_are_served(process, port):
    before = memory(process), descriptors(process)
    for each in ATTACKS:
        attacking = asyncio.create_task(asyncio.to_thread(attack, process, each, getattr(process, port)))
        peak = 0
        while not attacking.done():
            await is_served(process)
            peak = max(peak, memory(process))
            await asyncio.sleep(0.2)
        await attacking
        assert peak - before[0] < MEMORY, f"{each.__name__}: {(peak - before[0]) >> 20} MiB"
        print(f"{port} {each.__name__}: {(peak - before[0]) >> 20} MiB")  # noqa: T201 - the measurement
    async with asyncio.timeout(30):
        while descriptors(process) > before[1] + 2:  # noqa: ASYNC110 - nothing says when a socket is closed
            await asyncio.sleep(0.1)
    await is_served(process)


async def test_endless_headers_over_many_connections_cost_little_memory(process):
    before, peak = memory(process), 0
    attacking = [
        asyncio.create_task(asyncio.to_thread(attack, process, one_byte_headers, process.grpc_port, 1))
        for _ in range(30)
    ]
    while not all(task.done() for task in attacking):
        await is_served(process)
        peak = max(peak, memory(process))
        await asyncio.sleep(0.1)
    await asyncio.gather(*attacking)
    print(f"{(peak - before) >> 20} MiB")  # noqa: T201 - the measurement
    # 80 MiB on a quiet machine and 310 on a busy one, where filters are attached later; 1,280 without them.
    assert peak - before < 400 << 20, f"{(peak - before) >> 20} MiB"


async def test_the_first_call_of_a_connection_may_be_large(process, channel_options):
    """A stranger's budget is no limit for a caller: it sends a message of 3 MB with its first call."""
    credentials, options = channel_options(TOKEN, process.certificates, None)
    padding = interpreter_pb2.ListContextsRequest.FromString(b"\xc2\x3e\xc0\x8d\xb7\x01" + bytes(3_000_000))
    for _ in range(8):
        async with grpc.aio.secure_channel(f"127.0.0.1:{process.grpc_port}", credentials, options) as channel:
            await interpreter_pb2_grpc.InterpreterServiceStub(channel).ListContexts(padding, timeout=2)


def compressed(encoding: str, size: int) -> bytes:
    data = bytes(size)
    return gzip.compress(data, 9) if encoding == "gzip" else zlib.compress(data, 9)


@pytest.mark.parametrize("token", [TOKEN, None], ids=["a caller", "a stranger"])
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_compressed_message_is_not_inflated_beyond_the_limit(process, encoding, token):
    """Each of sixteen calls sends a megabyte that inflates to a gibibyte."""
    bomb = compressed(encoding, 1 << 30)
    assert len(bomb) < 4 << 20
    before = memory(process)

    def send():
        with RawHttp2(process.grpc_port) as connection:
            connection.greet()
            answers = b""
            for number in range(16):
                head = request(LIST, token, grpc_encoding=encoding)
                connection.send(frame(HEADERS, END_HEADERS, stream(number), head))
                message = struct.pack("!BI", 1, len(bomb)) + bomb
                answers += connection.send_message(stream(number), message)
                answers += connection.read_all(0.3)
            return raw_http2.kinds(answers)

    sending = asyncio.create_task(asyncio.to_thread(send))
    peak = 0
    while not sending.done():
        await is_served(process)
        peak = max(peak, memory(process))
        await asyncio.sleep(0.01)
    assert peak - before < MEMORY, f"{(peak - before) >> 20} MiB"
    assert any(kind == HEADERS for kind, *_ in await sending), "it is answered"
