"""An agent in this process, for tests of what uses the SDK: real gRPC over TLS, scripted answers. Needs `cryptography`.

    async with FakeAgent() as agent, AsyncSandbox(agent.endpoint) as sandbox:
        agent.script("1 + 1", [result({"text/plain": b"2"}, is_main=True), completed()])
        assert (await sandbox.run_code("1 + 1")).text == "2"

Files and stored files are dictionaries; `refuse` and `break_after` inject faults.
"""

from __future__ import annotations

import datetime as dt
import fnmatch
import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Self

import grpc

from sandbox_client.transport.endpoint import MAX_MESSAGE, Endpoint
from sandbox_proto.v1 import file_pb2, interpreter_pb2, process_pb2, types_pb2, workspace_pb2
from sandbox_proto.v1.file_pb2_grpc import FileServiceServicer, add_FileServiceServicer_to_server
from sandbox_proto.v1.interpreter_pb2_grpc import InterpreterServiceServicer, add_InterpreterServiceServicer_to_server
from sandbox_proto.v1.process_pb2_grpc import add_ProcessServiceServicer_to_server
from sandbox_proto.v1.workspace_pb2_grpc import WorkspaceServiceServicer, add_WorkspaceServiceServicer_to_server
from sandbox_testing.agent_processes import FakeProcess, ProcessFake
from sandbox_testing.agent_status import refuse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from types import TracebackType

TOKEN: Final = "a-token-for-tests"  # noqa: S105 - of no other use
SERVER_NAME: Final = "fake.sandboxsessions.dev"
_STDOUT: Final = types_pb2.Output.STREAM_STDOUT
_STDERR: Final = types_pb2.Output.STREAM_STDERR


def started(execution_id: str = "e1", context_id: str = "python") -> interpreter_pb2.ExecuteEvent:
    """A cell's first event."""
    event = interpreter_pb2.ExecutionStarted(execution_id=execution_id, context_id=context_id)
    return interpreter_pb2.ExecuteEvent(started=event)


def output(data: bytes, *, offset: int = 0, is_stderr: bool = False) -> interpreter_pb2.ExecuteEvent:
    """Output of a cell; `offset` in bytes."""
    stream = _STDERR if is_stderr else _STDOUT
    return interpreter_pb2.ExecuteEvent(output=types_pb2.Output(stream=stream, data=data, offset=offset))


def result(
    data: dict[str, bytes], *, is_main: bool = False, display_id: str = "", is_update: bool = False
) -> interpreter_pb2.ExecuteEvent:
    """Something that a cell shows."""
    shown = interpreter_pb2.Result(data=data, is_main=is_main, display_id=display_id, is_update=is_update)
    return interpreter_pb2.ExecuteEvent(result=shown)


def error(name: str, value: str, traceback: Sequence[str] = ()) -> interpreter_pb2.ExecuteEvent:
    """An exception of a cell."""
    raised = interpreter_pb2.ExecutionError(name=name, value=value, traceback=traceback)
    return interpreter_pb2.ExecuteEvent(error=raised)


def completed(
    status: types_pb2.ExitStatus = types_pb2.EXIT_STATUS_OK, *, seconds: float = 0.5
) -> interpreter_pb2.ExecuteEvent:
    """A cell's last event."""
    end = interpreter_pb2.ExecutionCompleted(status=status, duration=dt.timedelta(seconds=seconds), execution_count=1)
    return interpreter_pb2.ExecuteEvent(completed=end)


class FakeAgent:
    """The agent. Use it as an async context manager.

    Attributes:
        endpoint: Where it answers; set once it runs.
        files: The workspace: path to content.
        stored: Object storage: path to content.
        calls: How often each method was called.
        commands: Every RunRequest it got.
        processes: Background processes by id; they echo their input until it ends, or do what `script_process` says.
        cells: Every ExecuteRequest it got.
        executions: Cells that ran since the start, or since `forget`.
        variables: What a wake brought back of variables; None: the session did not sleep, or keeps none.
        changes: What a watch tells before its end: pairs such as `("added", "a.csv")`.
        brief_events: How many events ExecuteBriefly answers with at most; None: it is unknown, as to an older agent.
    """

    endpoint: Endpoint

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.stored: dict[str, bytes] = {}
        self.calls: Counter[str] = Counter()
        self.commands: list[process_pb2.RunRequest] = []
        self.processes: dict[str, FakeProcess] = {}
        self.process_scripts: dict[str, tuple[bytes, int]] = {}
        self.cells: list[interpreter_pb2.ExecuteRequest] = []
        self.scripts: dict[str, list[interpreter_pb2.ExecuteEvent]] = {}
        self.known: set[str] = set()
        self.executions = 0
        self.variables: interpreter_pb2.KeptVariables | None = None
        self.changes: list[tuple[str, str]] = []
        self.brief_events: int | None = None
        self.faults: dict[str, list[Callable[[Any], Any]]] = {}
        self.broken_after: int | None = None
        self._server: Any = None

    def script(self, code: str, events: Sequence[interpreter_pb2.ExecuteEvent]) -> None:
        """What running this code does."""
        self.scripts[code] = list(events)

    def script_process(self, command: str, output: bytes, exit_code: int = 0) -> None:
        """What starting this command in the background writes before it ends at once."""
        self.process_scripts[command] = output, exit_code

    def refuse(self, method: str, code: grpc.StatusCode, reason: str, *, field: str = "", times: int = 1) -> None:
        """Let the next calls of a method, such as `Stat`, fail."""

        def fault(context: Any) -> Any:
            return refuse(context, code, reason, f"{method} was told to fail", field)

        self.faults.setdefault(method, []).extend([fault] * times)

    def break_after(self, events: int) -> None:
        """Let the next stream of a cell break (UNAVAILABLE) after so many events."""
        self.broken_after = events

    def forget(self) -> None:
        """Be as after a restart: no request id is known any more, and no cell has run."""
        self.known.clear()
        self.executions = 0

    async def enter(self, method: str, context: Any) -> None:
        """What every method does first: count, check the token, fail where told to."""
        self.calls[method] += 1
        if dict(context.invocation_metadata()).get("authorization") != f"Bearer {TOKEN}":
            await refuse(context, grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED", "the token is not this session's")
        if self.faults.get(method):
            await self.faults[method].pop(0)(context)

    async def __aenter__(self) -> Self:
        ca, certificate, key = make_certificates(SERVER_NAME)
        options = [("grpc.max_receive_message_length", MAX_MESSAGE), ("grpc.max_send_message_length", MAX_MESSAGE)]
        self._server = grpc.aio.server(options=options)
        add_InterpreterServiceServicer_to_server(_Interpreter(self), self._server)  # type: ignore[no-untyped-call]
        add_ProcessServiceServicer_to_server(ProcessFake(self), self._server)  # type: ignore[no-untyped-call]
        add_FileServiceServicer_to_server(_File(self), self._server)  # type: ignore[no-untyped-call]
        add_WorkspaceServiceServicer_to_server(_Workspace(self), self._server)  # type: ignore[no-untyped-call]
        port = self._server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
        await self._server.start()
        self.endpoint = Endpoint(f"127.0.0.1:{port}", SERVER_NAME, ca, TOKEN)
        return self

    async def __aexit__(
        self, type_: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._server.stop(None)


def make_certificates(server_name: str) -> tuple[bytes, bytes, bytes]:
    """A CA's certificate, and a server's certificate and key of it, all PEM, for an hour."""
    from cryptography import x509  # noqa: PLC0415 - of the [agent] extra
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 - same
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - same
    from cryptography.x509.oid import NameOID  # noqa: PLC0415 - same

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = dt.datetime.now(dt.UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def builder(subject: str, public_key: Any) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name("test CA"))
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + dt.timedelta(hours=1))
        )

    authority = x509.BasicConstraints(ca=True, path_length=None)
    ca = builder("test CA", ca_key.public_key()).add_extension(authority, critical=True).sign(ca_key, hashes.SHA256())
    names = x509.SubjectAlternativeName([x509.DNSName(server_name)])
    leaf = builder(server_name, key.public_key()).add_extension(names, critical=False).sign(ca_key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return ca.public_bytes(pem), leaf.public_bytes(pem), private


class _Interpreter(InterpreterServiceServicer):
    def __init__(self, agent: FakeAgent) -> None:
        self._agent = agent

    async def Execute(  # noqa: N802 - gRPC's name
        self, request: interpreter_pb2.ExecuteRequest, context: Any
    ) -> AsyncIterator[interpreter_pb2.ExecuteResponse]:
        agent = self._agent
        await agent.enter("Execute", context)
        agent.cells.append(request)
        if not request.code.strip():
            await refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "EMPTY_CODE", "there is nothing to run", "code")
        is_repeat = "sandbox-attach-only" in dict(context.invocation_metadata())
        if is_repeat and request.request_id not in agent.known:
            await refuse(context, grpc.StatusCode.NOT_FOUND, "UNKNOWN_REQUEST", "no such request", "request_id")
        agent.known.add(request.request_id)
        agent.executions += not is_repeat
        for sent, event in enumerate(agent.scripts.get(request.code, [started(), completed()])):
            if sent == agent.broken_after:
                agent.broken_after = None
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")
            yield interpreter_pb2.ExecuteResponse(events=[event])

    async def ExecuteBriefly(  # noqa: N802 - gRPC's name
        self, request: interpreter_pb2.ExecuteRequest, context: Any
    ) -> interpreter_pb2.ExecuteResponse:
        agent = self._agent
        if agent.brief_events is None:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no such method")
        await agent.enter("ExecuteBriefly", context)
        agent.cells.append(request)
        agent.known.add(request.request_id)
        agent.executions += 1
        events = agent.scripts.get(request.code, [started(), completed()])
        return interpreter_pb2.ExecuteResponse(events=events[: agent.brief_events])

    async def Interrupt(self, _request: Any, context: Any) -> interpreter_pb2.InterruptResponse:  # noqa: N802 - same
        await self._agent.enter("Interrupt", context)
        return interpreter_pb2.InterruptResponse(interrupted=True)

    async def CreateContext(  # noqa: N802 - same
        self, request: interpreter_pb2.CreateContextRequest, context: Any
    ) -> interpreter_pb2.Context:
        await self._agent.enter("CreateContext", context)
        return interpreter_pb2.Context(id="c1", language=request.language, cwd=request.cwd)

    async def ListContexts(self, _request: Any, context: Any) -> interpreter_pb2.ListContextsResponse:  # noqa: N802 - same
        await self._agent.enter("ListContexts", context)
        python = interpreter_pb2.Context(
            id="python", language=types_pb2.LANGUAGE_PYTHON, execution_count=self._agent.executions
        )
        return interpreter_pb2.ListContextsResponse(contexts=[python], variables=self._agent.variables)


def _info(path: str, content: bytes) -> types_pb2.FileInfo:
    return types_pb2.FileInfo(path=path, type=types_pb2.FILE_TYPE_FILE, size=len(content), mode=0o644)


class _File(FileServiceServicer):
    def __init__(self, agent: FakeAgent) -> None:
        self._agent = agent

    async def _content(self, path: str, context: Any) -> bytes:
        if path not in self._agent.files:
            await refuse(context, grpc.StatusCode.NOT_FOUND, "FILE_NOT_FOUND", f"{path} is not there", "path")
        return self._agent.files[path]

    async def Read(self, request: file_pb2.ReadRequest, context: Any) -> AsyncIterator[file_pb2.ReadResponse]:  # noqa: N802 - gRPC's name
        await self._agent.enter("Read", context)
        content = await self._content(request.path, context)
        yield file_pb2.ReadResponse(info=_info(request.path, content))
        wanted = content[request.offset :][: request.length or None]
        for start in range(0, len(wanted), 100_000):
            yield file_pb2.ReadResponse(data=wanted[start : start + 100_000])

    async def Write(self, requests: AsyncIterator[file_pb2.WriteRequest], context: Any) -> file_pb2.WriteResponse:  # noqa: N802 - same
        await self._agent.enter("Write", context)
        opening = (await anext(requests)).open
        content = b"".join([request.data async for request in requests])
        digest = hashlib.sha256(content).hexdigest()
        if opening.sha256 and opening.sha256 != digest:
            await refuse(context, grpc.StatusCode.DATA_LOSS, "DIGEST_MISMATCH", "the digest differs", "sha256")
        self._agent.files[opening.path] = content
        return file_pb2.WriteResponse(info=_info(opening.path, content), sha256=digest)

    async def List(self, request: file_pb2.ListFilesRequest, context: Any) -> file_pb2.ListFilesResponse:  # noqa: N802 - same
        await self._agent.enter("List", context)
        names = sorted(self._agent.files)
        start = int(request.page_token or 0)
        # Pages of two, whatever was asked for: clients must follow the tokens.
        rest = str(start + 2) if start + 2 < len(names) else ""
        infos = [_info(name, self._agent.files[name]) for name in names[start : start + 2]]
        return file_pb2.ListFilesResponse(files=infos, next_page_token=rest)

    async def Stat(self, request: file_pb2.StatRequest, context: Any) -> types_pb2.FileInfo:  # noqa: N802 - same
        await self._agent.enter("Stat", context)
        return _info(request.path, await self._content(request.path, context))

    async def Remove(self, request: file_pb2.RemoveRequest, context: Any) -> file_pb2.RemoveResponse:  # noqa: N802 - same
        await self._agent.enter("Remove", context)
        await self._content(request.path, context)
        del self._agent.files[request.path]
        return file_pb2.RemoveResponse()

    async def Move(self, request: file_pb2.MoveRequest, context: Any) -> types_pb2.FileInfo:  # noqa: N802 - same
        await self._agent.enter("Move", context)
        content = await self._content(request.source, context)
        if request.destination in self._agent.files and not request.overwrite:
            await refuse(context, grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS", "it is there", "destination")
        self._agent.files[request.destination] = self._agent.files.pop(request.source)
        return _info(request.destination, content)

    async def Search(  # noqa: N802 - same
        self, request: file_pb2.SearchRequest, context: Any
    ) -> AsyncIterator[file_pb2.SearchResponse]:
        await self._agent.enter("Search", context)
        names = [name for name in sorted(self._agent.files) if fnmatch.fnmatch(name, request.name_pattern or "*")]
        matches = 0
        for name in names:
            if not request.content_pattern:
                matches += 1
                yield file_pb2.SearchResponse(path=name, info=_info(name, self._agent.files[name]))
                continue
            for number, line in enumerate(self._agent.files[name].decode().splitlines(), start=1):
                # Plain text, whatever was asked for: patterns are the agent's to understand.
                if request.content_pattern in line:
                    matches += 1
                    yield file_pb2.SearchResponse(path=name, line=number, text=line)
        yield file_pb2.SearchResponse(summary=file_pb2.SearchSummary(files=len(names), matches=matches))

    async def Watch(self, _request: Any, context: Any) -> AsyncIterator[file_pb2.WatchResponse]:  # noqa: N802 - same
        await self._agent.enter("Watch", context)
        yield file_pb2.WatchResponse(change=file_pb2.WatchResponse.CHANGE_WATCHING)
        for change, path in self._agent.changes:
            yield file_pb2.WatchResponse(change=f"CHANGE_{change.upper()}", path=path)


class _Workspace(WorkspaceServiceServicer):
    def __init__(self, agent: FakeAgent) -> None:
        self._agent = agent

    async def Push(  # noqa: N802 - gRPC's name
        self, request: workspace_pb2.PushRequest, context: Any
    ) -> AsyncIterator[workspace_pb2.PushResponse]:
        await self._agent.enter("Push", context)
        paths = list(request.paths) or sorted(self._agent.files)
        there = [path for path in paths if path in self._agent.files]
        failed = [workspace_pb2.FileFailure(path=path, reason="not there") for path in paths if path not in there]
        for number, path in enumerate(there, start=1):
            self._agent.stored[f"code-interpreter/{path}"] = self._agent.files[path]
            progress = workspace_pb2.Progress(files_done=number, files_total=len(there))
            yield workspace_pb2.PushResponse(progress=progress)
        done = workspace_pb2.PushDone(generation=1, files_saved=len(there), files_moved=len(there), failed=failed)
        yield workspace_pb2.PushResponse(done=done)

    async def Status(self, _request: Any, context: Any) -> workspace_pb2.WorkspaceStatus:  # noqa: N802 - same
        await self._agent.enter("Status", context)
        status = workspace_pb2.WorkspaceStatus(generation=1, files=len(self._agent.stored), dirty=True)
        status.synced_at.FromDatetime(dt.datetime(2026, 1, 2, tzinfo=dt.UTC))
        return status

    async def Read(  # noqa: N802 - same
        self, request: workspace_pb2.ReadStoredRequest, context: Any
    ) -> AsyncIterator[workspace_pb2.ReadStoredResponse]:
        await self._agent.enter("ReadStored", context)
        content = self._agent.stored.get(request.path)
        if content is None:
            await refuse(context, grpc.StatusCode.NOT_FOUND, "FILE_NOT_FOUND", "nothing is stored there", "path")
            return
        yield workspace_pb2.ReadStoredResponse(info=workspace_pb2.StoredFile(path=request.path, size=len(content)))
        yield workspace_pb2.ReadStoredResponse(data=content)
