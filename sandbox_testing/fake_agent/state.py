"""The state of the fake agent that tests script and read, and that its services share."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import grpc

from sandbox_testing.fake_agent.status import refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sandbox_proto.v1 import interpreter_pb2, process_pb2
    from sandbox_testing.fake_agent.processes import FakeProcess

TOKEN: Final = "a-token-for-tests"  # noqa: S105 - not a secret


class AgentState:
    """Scripts, files, faults and received calls of one fake agent.

    Attributes:
        files: The workspace: content by path.
        stored: Object storage: content by path.
        calls: Number of calls of each method.
        commands: Every RunRequest that it received.
        processes: Background processes by id. They echo their input until it ends, or do what `script_process` says.
        cells: Every ExecuteRequest that it received.
        executions: Number of cells that ran since the start, or since `forget`.
        variables: The variables that survived a suspension; None if the session was not suspended or keeps none.
        changes: The changes that a watch reports before it ends: pairs such as `("added", "a.csv")`.
        brief_events: Number of events that ExecuteBriefly returns at most. If None, the agent does not have that call,
            like an older agent.
    """

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

    def script(self, code: str, events: Sequence[interpreter_pb2.ExecuteEvent]) -> None:
        """Set the events of a cell that runs this code."""
        self.scripts[code] = list(events)

    def script_process(self, command: str, output: bytes, exit_code: int = 0) -> None:
        """Set what a background process with this command writes before it ends at once."""
        self.process_scripts[command] = output, exit_code

    def refuse(self, method: str, code: grpc.StatusCode, reason: str, *, field: str = "", times: int = 1) -> None:
        """Make the next calls of a method, such as `Stat`, fail."""

        def fault(context: Any) -> Any:
            return refuse(context, code, reason, f"{method} was made to fail", field)

        self.faults.setdefault(method, []).extend([fault] * times)

    def break_after(self, events: int) -> None:
        """Break the next stream of a cell (UNAVAILABLE) after this many events."""
        self.broken_after = events

    def forget(self) -> None:
        """Forget all request ids and executions, as after a restart."""
        self.known.clear()
        self.executions = 0

    async def enter(self, method: str, context: Any) -> None:
        """Begin a call: count it, check its token, and fail if the test asked for it."""
        self.calls[method] += 1
        if dict(context.invocation_metadata()).get("authorization") != f"Bearer {TOKEN}":
            await refuse(context, grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED", "the token is not this session's")
        if self.faults.get(method):
            await self.faults[method].pop(0)(context)
