"""Measure the resources that a local session uses."""

from __future__ import annotations

import pytest

from sandbox_client import Sandbox

LISTEN = """
import socket, sys, time
sockets = [socket.create_server(("127.0.0.1", 0)), socket.create_server(("::1", 0), family=socket.AF_INET6)]
print(*[each.getsockname()[1] for each in sockets], flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox.local() as sandbox:
        yield sandbox


def test_the_ports_of_user_code_are_listed_and_no_others(sandbox):
    before = sandbox.processes.metrics()
    assert before.ports == (), "neither the agent's nor those of other programs"
    process = sandbox.processes.start(["python", "-c", LISTEN])
    four, six = map(int, next(iter(process.output())).text.split())
    try:
        ports = sandbox.processes.metrics().ports
        expected = [(four, "127.0.0.1", process.pid), (six, "::1", process.pid)]
        assert [(port.port, port.address, port.pid) for port in ports] == sorted(expected)
    finally:
        process.kill()
    process.wait()
    assert sandbox.processes.metrics().ports == ()


def test_busy_processors_and_used_memory_show(sandbox):
    idle = sandbox.processes.metrics()
    assert idle.cpus > 0
    assert 0 < idle.disk_bytes <= idle.disk_total
    busy = sandbox.processes.start(["python", "-c", "x = bytearray(200 << 20)\nprint(1, flush=True)\nwhile True: pass"])
    next(iter(busy.output()))
    try:
        now = sandbox.processes.metrics()
        assert now.cpus_used > 0.02
        assert now.memory_bytes - idle.memory_bytes > 150 << 20
        assert now.processes == idle.processes + 1
    finally:
        busy.kill()
