"""The fake agent: a gRPC server with TLS in this process. It needs `cryptography`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

import grpc

from sandbox_client.transport.endpoint import MAX_MESSAGE, Endpoint
from sandbox_proto.v1.file_pb2_grpc import add_FileServiceServicer_to_server
from sandbox_proto.v1.interpreter_pb2_grpc import add_InterpreterServiceServicer_to_server
from sandbox_proto.v1.process_pb2_grpc import add_ProcessServiceServicer_to_server
from sandbox_proto.v1.workspace_pb2_grpc import add_WorkspaceServiceServicer_to_server
from sandbox_testing.fake_agent.certificates import make_certificates
from sandbox_testing.fake_agent.file_service import FakeFileService
from sandbox_testing.fake_agent.interpreter_service import FakeInterpreterService
from sandbox_testing.fake_agent.process_service import FakeProcessService
from sandbox_testing.fake_agent.state import TOKEN, AgentState
from sandbox_testing.fake_agent.workspace_service import FakeWorkspaceService

if TYPE_CHECKING:
    from types import TracebackType

SERVER_NAME: Final = "fake.sandboxsessions.dev"


class FakeAgent(AgentState):
    """An agent for tests. Use it as an async context manager.

    Attributes:
        endpoint: Its address, once it is running.
    """

    endpoint: Endpoint

    def __init__(self) -> None:
        super().__init__()
        self._server: Any = None

    async def __aenter__(self) -> Self:
        ca, certificate, key = make_certificates(SERVER_NAME)
        options = [("grpc.max_receive_message_length", MAX_MESSAGE), ("grpc.max_send_message_length", MAX_MESSAGE)]
        self._server = grpc.aio.server(options=options)
        add_InterpreterServiceServicer_to_server(FakeInterpreterService(self), self._server)  # type: ignore[no-untyped-call]
        add_ProcessServiceServicer_to_server(FakeProcessService(self), self._server)  # type: ignore[no-untyped-call]
        add_FileServiceServicer_to_server(FakeFileService(self), self._server)  # type: ignore[no-untyped-call]
        add_WorkspaceServiceServicer_to_server(FakeWorkspaceService(self), self._server)  # type: ignore[no-untyped-call]
        port = self._server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
        await self._server.start()
        self.endpoint = Endpoint(f"127.0.0.1:{port}", SERVER_NAME, ca, TOKEN)
        return self

    async def __aexit__(
        self, type_: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._server.stop(None)
