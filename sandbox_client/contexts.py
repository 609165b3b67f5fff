"""Contexts, the interpreters of a session: create, list, interrupt, restart and delete them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox_client.errors import SandboxError
from sandbox_client.models.context import Context, language_number, read_context
from sandbox_client.models.readable import Listing
from sandbox_client.models.saved_variables import read_kept_variables
from sandbox_client.transport.arguments import checks_arguments, id_of
from sandbox_client.transport.connection import Connection
from sandbox_proto.v1 import interpreter_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import PurePosixPath

    from sandbox_client.models.saved_variables import KeptVariables
    from sandbox_client.transport.endpoint import Endpoint


@checks_arguments
class AsyncContexts:
    """Interpreters of one sandbox. The default ones are called `python`, `javascript` and `typescript`.

    A `context_id` is a Context or its id. Every method that takes one raises NotFound if there is no such context.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def create(
        self, language: str = "python", *, cwd: str | PurePosixPath = "", env: Mapping[str, str] | None = None
    ) -> Context:
        """Start another interpreter with its own variables.

        Args:
            language: `python`, `javascript`, `typescript` or `bash`.
            cwd: Its working directory: relative to the workspace root, or absolute in the workspace, the home folder or
                /tmp.
            env: Environment variables, in addition to the session's.
        """
        request = interpreter_pb2.CreateContextRequest(language=language_number(language), cwd=str(cwd), env=env or {})
        call = self._connection.interpreter.CreateContext
        # Not repeatable: each attempt would leave another interpreter behind.
        return read_context(await self._connection.unary(call, request, repeatable=False))

    async def list(self) -> list[Context]:
        """List all contexts, including the default ones."""
        return Listing([read_context(message) for message in (await self._list()).contexts])

    async def kept_variables(self) -> KeptVariables | None:
        """Return which variables survived the suspension of this session.

        Returns:
            None if the session was not suspended, or does not keep variables.
        """
        response = await self._list()
        return read_kept_variables(response.variables) if response.HasField("variables") else None

    async def interrupt(self, context_id: str | Context = "python", *, request_id: str | None = None) -> bool:
        """Interrupt the running cell. Variables are kept.

        Args:
            context_id: The context.
            request_id: The request id of a cell. Only this cell is interrupted, in whichever context it runs. If it
                still waits for another one, it never runs.

        Returns:
            False if no cell was running.
        """
        request = interpreter_pb2.InterruptRequest(
            context_id="" if request_id else id_of(context_id), request_id=request_id or ""
        )
        call = self._connection.interpreter.Interrupt
        return bool((await self._connection.unary(call, request, repeatable=False)).interrupted)

    async def restart(self, context_id: str | Context) -> Context:
        """Replace the interpreter's process. Its variables are lost."""
        request = interpreter_pb2.RestartContextRequest(context_id=id_of(context_id))
        call = self._connection.interpreter.RestartContext
        return read_context(await self._connection.unary(call, request, repeatable=True))

    async def delete(self, context_id: str | Context) -> None:
        """End the interpreter and all its processes."""
        request = interpreter_pb2.DeleteContextRequest(context_id=id_of(context_id))
        await self._connection.unary(self._connection.interpreter.DeleteContext, request, repeatable=False)

    async def _list(self) -> interpreter_pb2.ListContextsResponse:
        request = interpreter_pb2.ListContextsRequest()
        call = self._connection.interpreter.ListContexts
        response: interpreter_pb2.ListContextsResponse = await self._connection.unary(call, request, repeatable=True)
        return response


async def kept_variables_at(endpoint: Endpoint) -> KeptVariables | None:
    """Return which variables a session kept when it was resumed, over a connection of its own.

    Returns:
        None if it does not keep variables, or cannot say.
    """
    connection = Connection(endpoint)
    try:
        return await AsyncContexts(connection).kept_variables()
    except SandboxError:
        # The notice is then shorter, but the call can continue.
        return None
    finally:
        await connection.close()
