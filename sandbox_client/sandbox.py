"""The sandbox, async: code, commands, files, workspace, contexts, processes. blocking.py derives the sync face."""

from __future__ import annotations

import contextlib
import copy
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from sandbox_client.contexts import AsyncContexts
from sandbox_client.errors import FailedPrecondition, SandboxError
from sandbox_client.files import AsyncFiles
from sandbox_client.models.events import (
    CommandFold,
    Completed,
    EventReader,
    ExecuteEvent,
    ExecutionFold,
    Exited,
    RunEvent,
)
from sandbox_client.models.results import CommandResult, Diagnostic, Execution, Status, language_number
from sandbox_client.models.saved_variables import describe_wake
from sandbox_client.processes import AsyncProcesses
from sandbox_client.transport.connection import Connection
from sandbox_client.transport.reattach import ExecutionLostError, attached_events
from sandbox_client.transport.requests import checked_text, command_request, duration, type_check_number
from sandbox_client.workspace import AsyncWorkspace
from sandbox_proto.v1 import interpreter_pb2

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
    from pathlib import PurePosixPath
    from types import TracebackType

    from sandbox_client.cluster.wake import Waker
    from sandbox_client.sync.direct import StraightConnection
    from sandbox_client.transport.endpoint import Endpoint


class AsyncSandbox:
    """One session: an isolated place that runs code and keeps its variables and files.

    Make it with `await AsyncSandbox.local()`, `.connect(name)` or `.create()`, and use it as an async context manager.

    Attributes:
        files: Files of the workspace.
        workspace: The workspace in object storage.
        contexts: Interpreters beside the default ones.
        processes: Background processes.
        name: The session's name.
        notice: What its caller must know: that it slept, and what that has lost; "" for nothing. A call that finds
            its session asleep wakes it, and changes this before it returns.
        waker: What wakes it; None: nothing does.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        name: str = "",
        resources: contextlib.AsyncExitStack | None = None,
        notice: str = "",
        waker: Waker | None = None,
    ) -> None:
        self.name = name
        self.notice = notice
        self.waker = waker
        self._resources = resources or contextlib.AsyncExitStack()
        if waker is not None:
            waker.on_notice = self._note
            self._resources.push_async_callback(waker.close)
        connection = Connection(endpoint, revive=waker.revive if waker is not None else None)
        self._connection: Connection | StraightConnection = connection
        self._resources.push_async_callback(connection.close)
        self.files = AsyncFiles(connection)
        self.workspace = AsyncWorkspace(connection)
        self.contexts = AsyncContexts(connection)
        self.processes = AsyncProcesses(connection)

    @property
    def endpoint(self) -> Endpoint:
        """Where the agent answers."""
        return self._connection.endpoint

    @classmethod
    async def local(
        cls,
        workspace: str | os.PathLike[str] | None = None,
        store: str | os.PathLike[str] | None = None,
        *,
        name: str = "default",
        env: Mapping[str, str] | None = None,
        egress: Literal["public", "none"] = "public",
        execution_timeout: float | None = None,
        memory_bytes: int | None = None,
        file_bytes: int | None = None,
        sync: Literal["manual", "on_change"] = "manual",
        keep_variables: bool = False,
        on_progress: Callable[[str], object] | None = None,
    ) -> Self:
        """Start a session on this machine, without a cluster. It ends with `close`, or with this process.

        Code runs as the user who calls this: a local session is for trusted code.

        Args:
            workspace: The folder that code works in; a temporary one by default.
            store: The folder that stands in for object storage; a temporary one by default.
            name: The workspace's name in the store: sessions of the same store and name share what is pushed.
            env: Environment variables of code and commands.
            egress: `none` refuses user code the network.
            execution_timeout: Seconds a cell or command may take; the agent's default otherwise.
            memory_bytes: What all of it may use together; three quarters of the machine's by default.
            file_bytes: How large one file may get; the agent's default otherwise.
            sync: `on_change` saves every change to the store unasked, within some seconds; `manual` saves by
                `workspace.push` alone.
            keep_variables: `close` saves all files, and the Python variables that can be pickled (64 MiB at most); the
                next session of the same store and name that keeps variables has them, and its `notice` says which.
            on_progress: Told each step of the start.

        Raises:
            SessionFailed: The [local] extra is missing, or a process did not start; the message has its log's end.
        """
        from sandbox_client.local.session import LocalOptions, start_local  # noqa: PLC0415 - only for local sessions

        options = LocalOptions(
            workspace=None if workspace is None else Path(workspace),
            store=None if store is None else Path(store),
            name=name,
            env=dict(env or {}),
            egress=egress,
            execution_timeout=execution_timeout,
            memory_bytes=memory_bytes,
            file_bytes=file_bytes,
            sync=sync,
            keep_variables=keep_variables,
        )
        endpoint, resources = await start_local(options, on_progress or _ignore)
        sandbox = cls(endpoint, name=name, resources=resources)
        if keep_variables and (variables := await sandbox.contexts.kept_variables()) is not None:
            sandbox.notice = describe_wake(variables)
        return sandbox

    @classmethod
    async def connect(
        cls,
        name: str,
        *,
        namespace: str | None = None,
        kubeconfig: str | None = None,
        kube_context: str | None = None,
        in_cluster: bool | None = None,
        wake: bool = True,
        timeout: float = 120.0,  # noqa: ASYNC109 - it is a watch that ends
        on_phase: Callable[[str], object] | None = None,
    ) -> Self:
        """Connect to a session of the cluster: directly inside a cluster, else through a port-forward.

        One that sleeps (suspended, by hand or because it was idle) is woken first; `notice` says so, and what that has
        lost and kept. So is one that falls asleep later, by the next call. A call that was under way then is never
        made again by itself: it may have begun.

        Args:
            name: The SandboxSession's name.
            namespace: Its namespace; the kubeconfig's (or this pod's) by default.
            kubeconfig: Path of a kubeconfig; the usual one by default.
            kube_context: A context of it; the current one by default.
            in_cluster: Whether the pod's own address is dialled; by default only from inside a pod. A session under
                gVisor takes no port-forward.
            wake: Whether one that sleeps is woken, now or by a later call; an error otherwise: SessionFailed now,
                FailedPrecondition or SandboxUnavailable later.
            timeout: Seconds to wait for it then.
            on_phase: Told each phase that it goes through then.

        Raises:
            NotFound: There is no such session.
            SessionFailed: It is not Ready; the message has its conditions.
        """
        from sandbox_client.cluster.sessions import Cluster, ClusterOptions  # noqa: PLC0415 - the package is slow to import
        from sandbox_client.cluster.wake import Waker  # noqa: PLC0415 - same

        cluster = await Cluster.open(ClusterOptions(namespace, kubeconfig, kube_context, in_cluster))
        woken = wake and await cluster.wake(name, timeout=timeout, on_phase=on_phase or _ignore)
        if not wake:
            endpoint, resources = await cluster.connect(name)
            return cls(endpoint, name=name, resources=resources)
        waker = await Waker.open(cluster, name, timeout=timeout, on_phase=on_phase or _ignore)
        sandbox = cls(waker.endpoint, name=name, waker=waker)
        if woken:
            await note_wake(sandbox)
        return sandbox

    @classmethod
    async def create(
        cls,
        name: str | None = None,
        *,
        template: str = "default",
        env: Mapping[str, str] | None = None,
        spec: Mapping[str, Any] | None = None,
        timeout: float = 120.0,  # noqa: ASYNC109 - it is a watch that ends
        on_phase: Callable[[str], object] | None = None,
        namespace: str | None = None,
        kubeconfig: str | None = None,
        kube_context: str | None = None,
        in_cluster: bool | None = None,
    ) -> Self:
        """Create a session in the cluster, wait until it is Ready, and connect.

        Args:
            name: Its name; one is made up by default.
            template: The SandboxTemplate's name.
            env: Environment variables of code and commands.
            spec: Further fields of the SandboxSession's spec, such as `{"lifecycle": {"idleTimeout": "1h"}}`.
            timeout: Seconds to wait.
            on_phase: Told each phase it goes through.
            namespace: As for `connect`.
            kubeconfig: As for `connect`.
            kube_context: As for `connect`.
            in_cluster: As for `connect`.

        Raises:
            Conflict: There is a session of that name.
            SessionFailed: It did not become Ready; the message has its conditions.
        """
        from sandbox_client.cluster.sessions import Cluster, ClusterOptions, SessionRequest  # noqa: PLC0415 - same
        from sandbox_client.cluster.wake import Waker  # noqa: PLC0415 - same

        cluster = await Cluster.open(ClusterOptions(namespace, kubeconfig, kube_context, in_cluster))
        created = await cluster.create(SessionRequest(name, template, dict(env or {}), dict(spec or {})))
        name, tell = str(created["metadata"]["name"]), on_phase or _ignore
        session = await cluster.wait_ready(name, timeout=timeout, on_phase=tell, since=created)
        waker = await Waker.open(cluster, name, session, timeout=timeout, on_phase=tell)
        return cls(waker.endpoint, name=name, waker=waker)

    async def run_code(
        self,
        code: str,
        language: str = "python",
        timeout: float | None = None,  # noqa: ASYNC109 - the server enforces it
        on_stdout: Callable[[str], object] | None = None,
        on_stderr: Callable[[str], object] | None = None,
        context: str | None = None,
        request_id: str | None = None,
        type_check: Literal["report", "require"] | None = None,
    ) -> Execution:
        """Run a cell and wait for its end. Variables persist from call to call, also after an exception.

        Args:
            code: What to run.
            language: `python`, `javascript` or `typescript`.
            timeout: Seconds; the session's limit by default.
            on_stdout: Called with text as it comes.
            on_stderr: Called with text as it comes.
            context: Id of a context from `contexts.create`; the language's default one otherwise.
            request_id: 1 to 128 characters; a repeat with the same id and code attaches instead of running twice.
            type_check: TypeScript only: find type errors first, which are `diagnostics` of the result; with `require`
                the cell runs only where there are none. The declarations of earlier cells are known.

        Returns:
            What it did. An exception of the code is `error`, a limit that was hit is `status`: neither is raised.

        Raises:
            InvalidArgument: `code` is empty, or `language`, `timeout` or `context_id` is wrong.
            FailedPrecondition: The sandbox has no type checker; the message says how to get it.
            Conflict: The request id was used with other code.
            SandboxUnavailable: Nobody answers.
        """
        request_id = request_id or uuid.uuid4().hex
        fold = ExecutionFold(request_id, on_stdout, on_stderr)
        options: dict[str, Any] = {"timeout": timeout, "context": context, "request_id": request_id}
        events = self.execute(code, language, **options, type_check=type_check)
        async with contextlib.aclosing(events):
            async for event in events:
                fold.add(event)
        return fold.finish()

    async def check_types(
        self,
        code: str,
        *,
        context: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the server enforces it
    ) -> tuple[Diagnostic, ...]:
        """Type errors of a TypeScript cell, which does not run. The declarations of earlier cells are known.

        Args:
            code: The cell.
            context: Id of the context that it would run in; the default one otherwise.
            timeout: Seconds; the session's limit by default.

        Raises:
            InvalidArgument: As for `run_code`.
            FailedPrecondition: The sandbox has no checker (the message says how to get it), or it gave no answer.
            SandboxUnavailable: Nobody answers.
        """
        fold = ExecutionFold()
        events = self.execute(code, "typescript", timeout=timeout, context=context, type_check="only")
        async with contextlib.aclosing(events):
            async for event in events:
                fold.add(event)
        checked = fold.finish()
        if not checked.ok and not checked.diagnostics:
            message = checked.error.value if checked.error else f"the check ended as {checked.status}"
            raise FailedPrecondition(message, reason="NO_TYPE_CHECK", field="type_check")
        return checked.diagnostics

    async def execute(
        self,
        code: str,
        language: str = "python",
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the server enforces it
        context: str | None = None,
        request_id: str | None = None,
        type_check: Literal["report", "require", "only"] | None = None,
    ) -> AsyncGenerator[ExecuteEvent, None]:
        """Run a cell and yield what happens as it happens; leaving the iteration does not cancel the cell.

        Args and errors are those of `run_code`; with the type check `only`, nothing runs.

        Yields:
            One Started, TypesChecked where it was asked for, then Stdout, Stderr, Result and at most one CodeError in
            their order, then one Completed.
        """
        request = interpreter_pb2.ExecuteRequest(
            code=checked_text(code, "code"),
            language=language_number(language) if context is None else _language_of(language),
            context_id=context or "",
            timeout=duration(timeout),
            request_id=request_id or uuid.uuid4().hex,
            type_check=type_check_number(type_check),
        )
        reader = EventReader()
        stub = self._connection.interpreter
        messages = attached_events(self._connection, stub.Execute, request, brief=stub.ExecuteBriefly)
        async with contextlib.aclosing(messages):
            try:
                async for message in messages:
                    for event in reader.execute_events(message):
                        yield event
            except ExecutionLostError as error:
                if not error.has_started:
                    raise
                yield Completed(Status.LOST)

    async def run(
        self,
        command: str | Sequence[str],
        *,
        cwd: str | PurePosixPath = "",
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the server enforces it
        stdin: bytes | str = b"",
        on_stdout: Callable[[str], object] | None = None,
        on_stderr: Callable[[str], object] | None = None,
        request_id: str | None = None,
        end_with_client: bool = False,
    ) -> CommandResult:
        """Run a command to its end. A non-zero exit code is a result, not an error.

        Args:
            command: A line for bash, or a list that no shell looks at.
            cwd: Relative to the workspace root.
            env: Added to the session's environment.
            timeout: Seconds, after which the whole process tree is killed; the session's limit by default.
            stdin: All of its standard input, at most 1 MiB.
            on_stdout: Called with text as it comes.
            on_stderr: Called with text as it comes.
            request_id: As for `run_code`.
            end_with_client: Kill the command when this client goes away or its connection breaks; it goes on otherwise.

        Raises:
            InvalidArgument: `command`, `cwd` or `timeout` is wrong.
            NotFound: The program of a list, or `cwd`, is not there.
        """
        request_id = request_id or uuid.uuid4().hex
        fold = CommandFold(request_id, on_stdout, on_stderr)
        events = self.stream_command(
            command,
            cwd=cwd,
            env=env,
            timeout=timeout,
            stdin=stdin,
            request_id=request_id,
            end_with_client=end_with_client,
        )
        async with contextlib.aclosing(events):
            async for event in events:
                fold.add(event)
        return fold.finish()

    async def stream_command(
        self,
        command: str | Sequence[str],
        *,
        cwd: str | PurePosixPath = "",
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the server enforces it
        stdin: bytes | str = b"",
        request_id: str | None = None,
        end_with_client: bool = False,
    ) -> AsyncGenerator[RunEvent, None]:
        """Run a command and yield what happens as it happens. Args and errors are those of `run`.

        Yields:
            One Started, then Stdout and Stderr in their order, then one Exited.
        """
        request = command_request(command, cwd=cwd, env=env, timeout=timeout, stdin=stdin, request_id=request_id)
        request.end_with_client = end_with_client
        reader = EventReader()
        messages = attached_events(self._connection, self._connection.process.Run, request)
        async with contextlib.aclosing(messages):
            try:
                async for message in messages:
                    for event in reader.run_events(message):
                        yield event
            except ExecutionLostError as error:
                if not error.has_started:
                    raise
                yield Exited(Status.LOST)

    def _note(self, notice: str) -> None:
        self.notice = notice

    async def close(self) -> None:
        """End the connection, and what was started for it: a local session ends, one of the cluster goes on."""
        await self._resources.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, type_: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


async def note_wake(sandbox: AsyncSandbox) -> None:
    """Have a sandbox's `notice` say that its session slept, what that has lost, and what it has kept."""
    sandbox.notice = describe_wake(None)
    # What cannot be asked just now is no reason not to connect.
    with contextlib.suppress(SandboxError):
        sandbox.notice = describe_wake(await sandbox.contexts.kept_variables())


def twin_over(sandbox: AsyncSandbox, connection: StraightConnection) -> AsyncSandbox:
    """The same session over another connection, to run code and commands with; it is not for closing."""
    twin = copy.copy(sandbox)
    twin._connection = connection  # noqa: SLF001 - its own module
    return twin


def _language_of(name: str) -> Any:
    # The context knows its language; naming one matters only to choose TypeScript in a JavaScript context.
    return language_number("" if name == "python" else name, is_optional=True)


def _ignore(_word: str) -> None:
    pass
