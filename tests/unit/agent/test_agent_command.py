from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import sys

import pytest


async def spawn(*arguments, **environment):
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "sandbox_agent",
        *arguments,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.fixture
async def serving(certificates, tmp_path):
    process = await spawn(
        "serve",
        SANDBOX_LINK_DIR=str(tmp_path),
        SANDBOX_TLS_DIR=str(certificates),
        SANDBOX_LISTEN_ADDRESS="127.0.0.1",
        SANDBOX_GRPC_PORT="0",
        SANDBOX_CONTROL_PORT="0",
        SANDBOX_HEALTH_PORT="0",
        SANDBOX_READY_FILE=str(tmp_path / "ready.json"),
    )
    while not (tmp_path / "ready.json").exists():
        assert process.returncode is None, (await process.communicate())[1]
        await asyncio.sleep(0.02)
    yield process, json.loads((tmp_path / "ready.json").read_text())
    if process.returncode is None:
        process.kill()
        await process.communicate()


def handshake(port, certificates, version):
    context = ssl.create_default_context(cafile=str(certificates / "ca.crt"))
    context.set_alpn_protocols(["h2"])
    context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", port), 5) as raw,
        context.wrap_socket(raw, server_hostname="agent.test") as secured,
    ):
        return secured.version()


async def test_tls_is_1_3_or_nothing(serving, certificates):
    port = serving[1]["grpc_port"]
    assert await asyncio.to_thread(handshake, port, certificates, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.to_thread(handshake, port, certificates, ssl.TLSVersion.TLSv1_2)


async def test_sigterm_ends_it_well_and_its_log_is_json(serving):
    process, _ = serving
    process.send_signal(signal.SIGTERM)
    _, log = await process.communicate()
    assert process.returncode == 0
    assert [json.loads(line)["message"] for line in log.splitlines()] == ["serving"]


@pytest.mark.parametrize(
    ("environment", "code", "told"),
    [
        ({"SANDBOX_GRPC_PORT": "seven"}, 2, "SANDBOX_GRPC_PORT must be a port number"),
        ({"SANDBOX_TLS_DIR": "/nowhere"}, 1, "SANDBOX_TLS_DIR must have tls.crt, tls.key and ca.crt"),
        ({"SANDBOX_LOG_LEVEL": "loud"}, 2, "SANDBOX_LOG_LEVEL must be"),
    ],
)
async def test_what_is_wrong_with_the_environment_is_said_by_name(environment, code, told):
    process = await spawn("serve", **environment)
    _, errors = await process.communicate()
    assert (process.returncode, told in errors.decode()) == (code, True), errors


async def test_help_names_every_variable():
    process = await spawn("--help")
    text = (await process.communicate())[0].decode()
    for name in ("LINK_DIR", "TLS_DIR", "GRPC_PORT", "CONTROL_PORT", "HEALTH_PORT", "LISTEN_ADDRESS", "READY_FILE"):
        assert f"SANDBOX_{name}" in text
