"""Answers that a failure cuts off: the connection ends too early, and the log has a line for it."""

import asyncio
import contextlib
import logging
import socket

import uvicorn

from sandbox_client.errors import SandboxUnavailable
from sandbox_gateway.doors.e2b.cut_off_response import CutOffResponse


async def app(scope, receive, send):
    async def body():
        yield b"part"
        raise SandboxUnavailable("the sandbox ended")

    await CutOffResponse(body(), media_type="application/json")(scope, receive, send)


async def test_the_connection_ends_without_the_end_of_the_answer(caplog):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, http="h11", lifespan="off", log_config=None))
        server.capture_signals = contextlib.nullcontext
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        with caplog.at_level(logging.WARNING):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = await reader.read()
            writer.close()
        server.should_exit = True
        await serving
    assert b"200 OK" in answer
    assert b"part" in answer
    # The last piece of an answer in pieces has the size 0.
    assert not answer.endswith(b"0\r\n\r\n")
    assert "an answer was cut off: the sandbox ended" in caplog.messages
    assert not [record for record in caplog.records if record.exc_info]
