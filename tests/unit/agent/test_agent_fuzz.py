"""A whole agent, driven by real clients, against a runtime that answers with whatever it likes.

Honest answers and forged ones are interleaved on one link; each client gets its own bytes or a clean error, nothing
hangs, and the next honest runtime is served as if nothing had been.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import math
import os
import struct
from contextlib import AsyncExitStack
from types import SimpleNamespace

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from sandbox_agent.app import running_agent
from sandbox_agent.executions import follow
from sandbox_agent.executions.events import (
    CellTranslator,
    CommandTranslator,
    add_skipped_to_cell,
    add_skipped_to_command,
    read_exited,
)
from sandbox_agent.processes.process import BackgroundProcess, Start
from sandbox_agent.processes.registry import read_found, write_label
from sandbox_agent.runtime_values import read_context, read_file_info, read_object, read_objects
from sandbox_agent.server.settings import Settings
from sandbox_agent.services.search import _read_changes, _read_match
from sandbox_agent.storage.sandbox.file_info import read_local
from sandbox_link.frames import FrameError, FrameType, Stream, encode, encode_data, encode_json
from sandbox_link.protocol import Data, Event, OperationError
from sandbox_proto.v1 import (
    file_pb2,
    file_pb2_grpc,
    interpreter_pb2,
    interpreter_pb2_grpc,
    process_pb2,
    process_pb2_grpc,
    session_pb2,
    session_pb2_grpc,
    types_pb2,
)

SERVER_NAME = "agent.test"
TOKEN = "t" * 43
EXAMPLES = int(os.environ.get("SANDBOX_FUZZ_EXAMPLES", "25"))
STATUS = {"status": "OK", "exit_code": 0, "signal": 0, "duration": 0.5, "dropped_bytes": 0, "execution_count": 1}
LIMIT = 60.0


def info(path):
    return {"path": path, "type": "file", "size": 5, "mode": 420, "mtime_ns": 10**18, "symlink_target": None}


# What an honest runtime says to each operation, with a token that tells one call's answer from another's: events, and
# `bytes` for output, then the result.
HONEST = {
    "execute": lambda token: (
        [
            {"type": "started", "context_id": token},
            (Stream.STDOUT, token.encode()),
            {"type": "result", "is_main": True, "display_id": None, "is_update": False, "parts": [["text/plain", 8]]},
            (Stream.BODY, token.encode()),
            {"type": "error", "name": "E", "value": token, "traceback": ["line"]},
            {"type": "type_check", "diagnostics": [{"line": 1, "column": 2, "code": 3, "message": "m"}], "omitted": 0},
        ],
        {**STATUS, "context_restarted": False},
    ),
    "run": lambda token: (
        [{"type": "started", "pid": 7}, (Stream.STDOUT, token.encode()), (Stream.STDERR, token.encode())],
        STATUS,
    ),
    "process.start": lambda token: (
        [{"type": "started", "pid": 7, "offset": 0}, (Stream.STDOUT, token.encode())],
        STATUS,
    ),
    "file.read": lambda token: ([{"type": "info", "info": info(token)}, (Stream.BODY, token.encode())], {"bytes": 8}),
    "file.stat": lambda token: ([], {"info": info(token)}),
    "file.write": lambda token: ([], {"info": info(token), "sha256": "0" * 64}),
    "file.list": lambda token: (
        [{"type": "entries", "entries": [info(token), info(token)]}],
        {"next_page_token": ""},
    ),
    "file.search": lambda token: (
        [{"type": "matches", "matches": [{"path": token, "line": 1, "text": "t"}, {"info": info(token)}]}],
        {"files": 1, "skipped": 0, "matches": 2, "limit": "results"},
    ),
    "file.watch": lambda token: (
        [
            {"type": "watching"},
            {"type": "changes", "at_ns": 10**18, "changes": [{"path": token, "change": "added"}]},
            {"type": "overflow"},
        ],
        {"reason": "overflow"},
    ),
    "context.create": lambda token: (
        [],
        {"id": token, "language": "python", "cwd": "", "busy": False, "execution_count": 0},
    ),
    "context.list": lambda token: (
        [],
        {
            "contexts": [{"id": token, "language": "javascript", "cwd": "", "busy": True, "execution_count": 2}],
            "variables": {
                "kept": [["python", token]],
                "lost": [["python", "", "why"]],
                "omitted": [1, 2],
                "problem": "",
            },
        },
    ),
    "interrupt": lambda _token: ([], {"interrupted": True}),
    "process.signal": lambda _token: ([], {}),
}


class Clients:
    """One real client call for each operation of the link."""

    def __init__(self, channel):
        self.cells = interpreter_pb2_grpc.InterpreterServiceStub(channel)
        self.processes = process_pb2_grpc.ProcessServiceStub(channel)
        self.files = file_pb2_grpc.FileServiceStub(channel)

    def call(self, op):
        empty = interpreter_pb2.ListContextsRequest()
        calls = {
            "execute": lambda: self.cells.Execute(
                interpreter_pb2.ExecuteRequest(code="1", language=types_pb2.LANGUAGE_PYTHON), timeout=LIMIT
            ),
            "run": lambda: self.processes.Run(process_pb2.RunRequest(shell="true"), timeout=LIMIT),
            "process.start": self._start_and_attach,
            "file.read": lambda: self.files.Read(file_pb2.ReadRequest(path="a"), timeout=LIMIT),
            "file.stat": lambda: self.files.Stat(file_pb2.StatRequest(path="a"), timeout=LIMIT),
            "file.write": self._write,
            "file.list": lambda: self.files.List(file_pb2.ListFilesRequest(path="."), timeout=LIMIT),
            "file.search": lambda: self.files.Search(file_pb2.SearchRequest(path=".", name_pattern="*"), timeout=LIMIT),
            "file.watch": lambda: self.files.Watch(file_pb2.WatchRequest(path="."), timeout=LIMIT),
            "context.create": lambda: self.cells.CreateContext(
                interpreter_pb2.CreateContextRequest(language=types_pb2.LANGUAGE_PYTHON), timeout=LIMIT
            ),
            "context.list": lambda: self.cells.ListContexts(empty, timeout=LIMIT),
            "interrupt": lambda: self.cells.Interrupt(interpreter_pb2.InterruptRequest(context_id="c"), timeout=LIMIT),
            "process.signal": lambda: self.processes.Signal(
                process_pb2.SignalRequest(process_id="p", signal=15), timeout=LIMIT
            ),
        }
        return asyncio.ensure_future(_outcome(calls[op]))

    def _write(self):
        async def requests():
            yield file_pb2.WriteRequest(open={"path": "a"})
            yield file_pb2.WriteRequest(data=b"12345")

        return self.files.Write(requests(), timeout=LIMIT)

    async def _start_and_attach(self):
        request = process_pb2.StartRequest(run=process_pb2.RunRequest(shell="true"))
        process = await self.processes.Start(request, timeout=LIMIT)
        attached = self.processes.Attach(process_pb2.AttachRequest(process_id=process.process_id), timeout=LIMIT)
        return [response async for response in attached]


async def _outcome(make):
    """What a client sees: its messages, or the code and reason of an error."""
    call = make()
    try:
        if hasattr(call, "__aiter__"):
            return [message async for message in call]
        answered = await call
    except grpc.aio.AioRpcError as error:
        return _read_error(error)
    return answered if isinstance(answered, list) else [answered]


def _read_error(error):
    pretended = SimpleNamespace(trailing_metadata=error.trailing_metadata, code=error.code, details=error.details)
    status = rpc_status.from_call(pretended)
    assert status is not None, (error.code(), error.details())
    reason = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(reason)
    return error.code().name, reason.reason


class World:
    """An agent, its clients, and the runtime that the tests play; all on one loop."""

    def __init__(self, runner, runtime, agent, clients):
        self.runner = runner
        self.runtime = runtime
        self.agent = agent
        self.clients = clients
        self.opened = asyncio.Queue()
        self.defects = []
        for op in HONEST:
            runtime.handlers[op] = self._note
        self.runtime.handlers["process.attach"] = self._refuse

    async def _note(self, peer, channel, arguments):
        self.opened.put_nowait((peer, channel, arguments["op"]))

    async def _refuse(self, peer, channel, _arguments):
        peer.error(channel, "NOT_FOUND", "UNKNOWN_PROCESS", "no such process", "process_id")

    async def answer(self, conversation):
        """Answer a call as an honest runtime would, and check what its client has of it."""
        answer = b"".join(honest_frames(conversation.op, conversation.token, conversation.channel))
        held = conversation.is_honest and conversation.peer in self.runtime.peers
        conversation.peer.raw(answer)
        if not held:
            return
        outcome = await conversation.outcome
        text = repr(outcome)
        assert isinstance(outcome, list), (conversation.op, outcome)
        # A match of a whole file has its path twice.
        said = answer.count(conversation.token.encode()) + (conversation.op == "file.search")
        assert text.count(conversation.token) == said, (conversation.op, outcome)
        assert text.count("tok") == said, (conversation.op, outcome)

    async def restart(self):
        """Another runtime in the place of the one before."""
        await self.runtime.stop()
        self.runtime.hello.update(runtime_id=f"r{len(self.defects)}-{self.runtime.connections}", session_uid="")
        await self.runtime.start()

    async def check_health(self):
        """An honest cell runs, and nothing is left of calls before."""
        outcome, peer, channel = await self.begin("execute")
        await self.answer(Conversation("execute", "tok-last", outcome, peer, channel))
        async with asyncio.timeout(10):
            await self.agent._gate.wait_until_quiet(10)
        assert self.agent._gate.active == 0
        assert self.agent._cells.running == self.agent._commands.running == self.agent._processes.running == 0
        assert self.agent._link._connection._calls == {}

    async def begin(self, op):
        """Make a call and wait until the runtime has it; None where the link broke meanwhile."""
        for _ in range(20):
            outcome = self.clients.call(op)
            asked = asyncio.ensure_future(self.opened.get())
            await asyncio.wait({outcome, asked}, timeout=20, return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                peer, channel, found = asked.result()
                assert found == op
                return outcome, peer, channel
            asked.cancel()
            assert outcome.done(), f"{op} neither reached the runtime nor failed"
            assert outcome.result()[1] == "RUNTIME_UNAVAILABLE"
        raise AssertionError("the agent found no way back to its runtime")


@pytest.fixture(scope="module")
def world(scripted, channel_options, certificates, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    addresses = {"listen_address": "127.0.0.1", "grpc_port": 0, "control_port": 0, "health_port": 0}
    settings_ = Settings(link_dir=folder, tls_dir=certificates, ready_file=folder / "ready.json", **addresses)

    async def up(stack):
        runtime = await stack.enter_async_context(scripted.ScriptedRuntime(folder / "runtime.sock"))
        agent = await stack.enter_async_context(running_agent(settings_))

        async def connect(port, token, client):
            credentials, options = channel_options(token, certificates, client)
            channel = grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options)
            return await stack.enter_async_context(channel)

        control = session_pb2_grpc.SessionServiceStub(await connect(agent.control_port, None, "operator"))
        digest = hashlib.sha256(TOKEN.encode()).digest()
        await control.Bind(session_pb2.BindRequest(session_uid="u", session_name="team/one", token_sha256=digest))
        return World(runner, runtime, agent, Clients(await connect(agent.grpc_port, TOKEN, None)))

    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        yield runner.run(up(stack))
        runner.run(stack.aclose())


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([-1, 1 << 31, 1 << 62, 1 << 63, (1 << 64) - 1, 10**400]),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["", "\ud800", "\0", "x" * 70_000, "€" * 3000, "../..", "OK", "started", "python"]),
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


@st.composite
def damaged(draw, value):
    """A value with one thing in it replaced, removed or added."""
    if isinstance(value, dict) and value and draw(st.integers(0, 5)):
        key = draw(st.sampled_from(sorted(value)))
        match draw(st.sampled_from(["deeper", "deeper", "remove", "add"])):
            case "deeper":
                return {**value, key: draw(damaged(value[key]))}
            case "remove":
                return {name: kept for name, kept in value.items() if name != key}
            case "add":
                return {**value, draw(st.text(max_size=5)): draw(JSON)}
    if isinstance(value, list) and value and draw(st.booleans()):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], draw(damaged(value[place])), *value[place + 1 :]]
    return draw(JSON)


def encoded(kind, channel, value):
    """JSON as a hostile runtime writes it: NaN, lone surrogates and all."""
    return encode(kind, channel, json.dumps(value).encode()[: 1 << 20])


@st.composite
def forged(draw, op, channel, channels):  # noqa: PLR0911 - one for each kind of forgery
    """A frame that is wrong in some way for a call of this operation."""
    items, result = HONEST[op]("mallory!")
    # Nobody offered a stream, and nobody listens for one.
    events = [*(item for item in items if isinstance(item, dict)), {"type": "stream", "key": "0" * 32}]
    match draw(st.sampled_from(["event", "event", "result", "result", "error", "data", "again", "raw", "other"])):
        case "event":
            return encoded(FrameType.EVENT, channel, draw(damaged(draw(st.sampled_from(events)))))
        case "again":
            return encode_json(FrameType.EVENT, channel, draw(st.sampled_from(events)))
        case "result":
            return encoded(FrameType.CLOSE, channel, {"ok": draw(damaged(result))})
        case "error":
            error = {"code": "NOT_FOUND", "reason": "FILE_NOT_FOUND", "message": "m", "field": "path"}
            return encoded(FrameType.CLOSE, channel, {"error": draw(damaged(error))})
        case "data":
            return encode_data(channel, draw(st.sampled_from(Stream)), draw(st.binary(max_size=20)))
        case "other":
            return encoded(draw(st.sampled_from(FrameType)), draw(st.sampled_from(channels)), draw(JSON))
    body = draw(st.binary(max_size=20))
    length = draw(st.sampled_from([0, 4, 5 + len(body), 6 + len(body), 1 << 21, (1 << 32) - 1]))
    return struct.pack("!IBI", length, draw(st.integers(0, 8)), draw(st.sampled_from(channels))) + body


async def within(seconds, awaitable):
    async with asyncio.timeout(seconds):
        return await awaitable


class Conversation:
    """A call under way."""

    def __init__(self, op, token, outcome, peer, channel):
        self.op = op
        self.token = token
        self.outcome = outcome
        self.peer = peer
        self.channel = channel
        self.is_honest = True


def honest_frames(op, token, channel):
    """All that an honest runtime says to a call."""
    items, result = HONEST[op](token)
    for item in items:
        if isinstance(item, dict):
            yield encode_json(FrameType.EVENT, channel, item)
        else:
            yield encode_data(channel, *item)
    yield encode_json(FrameType.CLOSE, channel, {"ok": result})


def is_clean(op, outcome):
    """Whether a call whose runtime was not honest, or went away, ended as it may."""
    if isinstance(outcome, tuple):
        return True
    if op in {"execute", "run", "process.start"}:
        # Streams of these always end in how it ended.
        return outcome[-1].events[-1].WhichOneof("event") in {"completed", "exited"}
    return True


class Machine(RuleBasedStateMachine):
    """Clients, honest answers and forgeries, in any order."""

    world: World

    def __init__(self):
        super().__init__()
        self.open: list[Conversation] = []
        self.ended: list[Conversation] = []
        self.number = 0

    def run(self, awaitable):
        return self.world.runner.run(within(30, awaitable))

    @precondition(lambda self: len(self.open) < 6)
    @rule(op=st.sampled_from(sorted(HONEST)))
    def begin(self, op):
        outcome, peer, channel = self.run(self.world.begin(op))
        self.number += 1
        self.open.append(Conversation(op, f"tok{self.number:05}", outcome, peer, channel))

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def answer_honestly(self, data):
        """Whoever was told nothing but the truth, on a link that held, has exactly that."""
        conversation = data.draw(st.sampled_from(self.open))
        self.open.remove(conversation)
        self.ended.append(conversation)
        self.run(self.world.answer(conversation))

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def forge(self, data):
        conversation = data.draw(st.sampled_from(self.open))
        channels = [0, *(other.channel for other in self.open if other.peer is conversation.peer), 1 << 20]
        frame = data.draw(forged(conversation.op, conversation.channel, channels))
        for other in self.open:
            # It may be for any of them.
            other.is_honest = other.is_honest and other.peer is not conversation.peer
        conversation.peer.raw(frame)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def vanish_in_the_middle_of_a_frame(self, data):
        conversation = data.draw(st.sampled_from(self.open))
        answer = b"".join(honest_frames(conversation.op, conversation.token, conversation.channel))
        conversation.peer.raw(answer[: data.draw(st.integers(0, len(answer) - 1))])
        self.run(conversation.peer.close())
        for other in self.open:
            other.is_honest = other.is_honest and other.peer is not conversation.peer

    @rule()
    def restart(self):
        """A new runtime that knows nothing of what was asked before."""
        self.run(self.world.restart())
        for conversation in self.open:
            conversation.is_honest = False

    @invariant()
    def agent_has_no_defects(self):
        assert self.world.defects == []

    def teardown(self):
        """Nothing hangs, nothing is left over, and the next honest runtime serves everybody."""
        self.run(self.world.restart())
        for conversation in (*self.open, *self.ended):
            outcome = self.run(conversation.outcome)
            assert is_clean(conversation.op, outcome), (conversation.op, outcome)
        self.run(self.world.check_health())
        self.agent_has_no_defects()


def test_whatever_a_runtime_answers_calls_end_are_not_mixed_up_and_the_next_runtime_is_served(world):
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: world.defects.append((record.getMessage(), record.exc_info))
    loggers = [logging.getLogger(name) for name in ("sandbox_agent", "sandbox_link")]
    for logger in loggers:
        logger.addHandler(handler)
    world.runner.get_loop().set_exception_handler(lambda _, context: world.defects.append(context))
    Machine.world = world
    try:
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=15,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


def test_every_operation_has_exactly_its_own_honest_answer(world):
    async def all_at_once():
        conversations = []
        for number, op in enumerate(sorted(HONEST) * 3):
            conversations.append(Conversation(op, f"tok{number:05}", *await world.begin(op)))
        for conversation in reversed(conversations):
            await world.answer(conversation)

    world.runner.run(all_at_once())


EXTREMES = [None, True, -1, 1 << 31, 1 << 62, (1 << 64) - 1, 10**400, -(10**400), 1e308, math.inf, math.nan, "", "x"]
EXTREMES += ["\ud800\0", "x" * 70_000, [], {}, [[]], [{}], {"a": None}, [None], ["x"] * 1000]


def variants(value):
    """The value with each thing in it replaced by each extreme one, in turn, or left out."""
    yield from EXTREMES
    if isinstance(value, dict):
        for name, kept in value.items():
            yield {other: value[other] for other in value if other != name}
            yield from ({**value, name: variant} for variant in variants(kept))
    elif isinstance(value, list):
        for place, kept in enumerate(value):
            yield from ([*value[:place], variant, *value[place + 1 :]] for variant in variants(kept))


def read_answer(op, events, result):  # noqa: PLR0911 - one for each kind of answer
    """An answer, as the agent reads it; the messages that clients get are built, and encoded."""
    if op == "execute":
        cell = CellTranslator("e")
        list(cell.translate([Event({"type": "started", "context_id": "c"}), *events]))
        return [add_skipped_to_cell(cell.finish(result), 1 << 62)]
    if op == "run":
        command = CommandTranslator("p")
        list(command.translate([Event({"type": "started", "pid": 1}), *events]))
        return [add_skipped_to_command(command.finish(result), 1 << 62)]
    if op == "process.start":
        process = BackgroundProcess(Start("", b"", "", 0.0, has_terminal=False))
        for event in events:
            process._take_started(event.value)
            process.output.append(Stream.STDOUT, b"more")
            process.describe().SerializeToString()
        return [read_exited(result)]
    if op == "file.search":
        return [_read_match(match) for event in events for match in read_objects(event.value, "matches", 500)]
    if op == "file.watch":
        return [change for event in events for change in _read_changes(event.value)]
    if op == "context.create":
        return [read_context(result)]
    if op == "file.stat":
        return [read_file_info(read_object(result, "info")), read_local(result.get("info"))]
    return [read_found(result)]


LABEL = write_label(Start("r", b"f", "c", 1.0, has_terminal=True))
READ = {
    **{op: HONEST[op]("mallory!") for op in ("execute", "run", "process.start", "file.search", "file.watch")},
    **{op: HONEST[op]("mallory!") for op in ("context.create", "file.stat")},
    "process.list": ([], {"process_id": "p", "label": LABEL}),
    "labels": ([], {"process_id": "p", "label": json.loads(LABEL)}),
}


@pytest.mark.parametrize("op", sorted(READ))
async def test_every_value_that_can_be_wrong_is_refused_or_bounded(op):
    items, result = READ[op]
    events = [item for item in items if isinstance(item, dict) and (item["type"] != "started" or op == "process.start")]
    wrong = [variant for event in events for variant in variants(event)]
    answers = [([Event(value)], result) for value in wrong if isinstance(value, dict)]
    answers += [([], value) for value in variants(result) if isinstance(value, dict)]
    accepted = 0
    for said, end in answers:
        if op == "labels":
            end = {**end, "label": json.dumps(end.get("label"))}  # noqa: PLW2901
        with contextlib.suppress(FrameError, OperationError):
            read_answer(op, said, end)
            accepted += 1
    # Values that are bounded, left out or unknown are no offence; most are one.
    assert 0 < accepted < len(answers) > 20


@pytest.mark.parametrize("message", ["€" * 4096, "\0" * 5000, "\ud800" * 3000, "%" * 9000, "\n" * 9000])
def test_an_error_whose_message_is_long_or_odd_arrives_with_its_code_and_reason(world, message):
    async def fail():
        outcome, peer, channel = await world.begin("file.stat")
        error = {"code": "NOT_FOUND", "reason": "FILE_NOT_FOUND", "message": message, "field": "path"}
        peer.raw(encoded(FrameType.CLOSE, channel, {"error": error}))
        assert await outcome == ("NOT_FOUND", "FILE_NOT_FOUND")

    world.runner.run(fail())


@pytest.mark.parametrize("op", ["execute", "run"])
def test_an_execution_that_its_runtime_never_ends_is_lost_once_its_time_is_over(world, monkeypatch, op):
    monkeypatch.setattr(follow, "GRACE", 0.05)

    async def begin():
        if op == "execute":
            request = interpreter_pb2.ExecuteRequest(code="1", language=types_pb2.LANGUAGE_PYTHON)
            call = world.clients.cells.Execute
        else:
            request = process_pb2.RunRequest(shell="true")
            call = world.clients.processes.Run
        request.timeout.FromMilliseconds(50)
        outcome = asyncio.ensure_future(_outcome(lambda: call(request, timeout=LIMIT)))
        peer, channel, _ = await world.opened.get()
        peer.event(channel, HONEST[op]("")[0][0])
        last = (await outcome)[-1].events[-1]
        assert getattr(last, last.WhichOneof("event")).status == types_pb2.EXIT_STATUS_LOST
        await world.check_health()

    world.runner.run(begin())


def test_a_result_whose_interpreter_was_ended_half_way_is_left_out_and_its_error_told():
    cell = CellTranslator("e")
    started = Event({"type": "started", "context_id": "c"})
    half = Event({"type": "result", "parts": [["text/plain", 100]]})
    error = Event({"type": "error", "name": "MemoryLimitExceeded", "value": "v", "limit": "memory"})
    wires = list(cell.translate([started, half, Data(Stream.BODY, b"only this"), error]))
    events = interpreter_pb2.ExecuteResponse.FromString(b"".join(wire.data for wire in wires)).events
    assert [event.WhichOneof("event") for event in events] == ["started", "error"]
    with pytest.raises(FrameError, match="without a result"):
        list(cell.translate([Data(Stream.BODY, b"the rest")]))
