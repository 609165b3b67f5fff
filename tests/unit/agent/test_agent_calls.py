from __future__ import annotations

import grpc
import pytest

from sandbox_proto.v1 import interpreter_pb2, interpreter_pb2_grpc, types_pb2

PYTHON = types_pb2.LANGUAGE_PYTHON


@pytest.fixture
def cells(client):
    return interpreter_pb2_grpc.InterpreterServiceStub(client)


async def test_a_short_cell_is_one_message(cells):
    responses = [r async for r in cells.Execute(interpreter_pb2.ExecuteRequest(code="print('hello')", language=PYTHON))]
    assert [[e.WhichOneof("event") for e in r.events] for r in responses] == [["started", "output", "completed"]]
