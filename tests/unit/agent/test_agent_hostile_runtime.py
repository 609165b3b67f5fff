"""Each operation of the link against a hostile runtime: the call ends in time, and the agent serves its other callers.

The operations come from the agent's code, so a new one fails here until it has a driver.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import dataclasses
import itertools
import os
import time
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest

import sandbox_agent
import sandbox_link
from sandbox_agent.executions import follow
from sandbox_agent.processes import process as background_process
from sandbox_agent.processes import registry as background_registry
from sandbox_agent.services import file as file_service
from sandbox_agent.services import search as search_service
from sandbox_agent.services import session as session_service
from sandbox_agent.session.startup_restore import RestorePhase, StartupRestore
from sandbox_agent.storage import saved_variables, timeouts
from sandbox_agent.storage.backends.directory.store import DirectoryStore
from sandbox_agent.storage.repository.keys import Keys
from sandbox_agent.storage.repository.manifest import Entry
from sandbox_agent.storage.sandbox.file_info import read_local
from sandbox_agent.storage.sandbox.files import SandboxFiles
from sandbox_agent.storage.saved_variables import Location, Variables
from sandbox_link.client_connection import MAX_BACKLOGS
from sandbox_link.frames import FrameType, Stream, encode, encode_json
from sandbox_link.protocol import OperationError
from sandbox_proto.v1 import (
    file_pb2,
    file_pb2_grpc,
    interpreter_pb2,
    interpreter_pb2_grpc,
    process_pb2,
    process_pb2_grpc,
    session_pb2,
)

SHORT = 0.3
"""Seconds of each limit here. They are minutes in a session."""
ENDS_WITHIN = 8.0
"""Seconds on a busy machine for a call whose limits are SHORT."""
PAUSE = 0.02
MEMORY = 160 << 20
"""Bytes that a flood may cost at most: the link's MAX_BACKLOGS, and what the runtime here holds itself."""
INFO = {"path": "a", "type": "file", "size": 3, "mode": 0o644, "mtime_ns": 1, "ctime_ns": 1, "ino": 1}
LOCAL = read_local({**INFO, "size": 1 << 40})


@pytest.fixture
def hurried(monkeypatch):
    for module, names in {
        timeouts: ("REQUEST_TIMEOUT", "HASH_TIMEOUT", "FINISH_TIMEOUT"),
        file_service: ("HASH_TIMEOUT",),
        search_service: ("REQUEST_TIMEOUT",),
        follow: ("GRACE",),
        background_process: ("START_TIMEOUT",),
        background_registry: ("_KILL_GRACE", "_TERMINATE_GRACE"),
        saved_variables: ("SAVE_TIMEOUT", "LOAD_TIMEOUT", "_TRANSFER_TIMEOUT"),
        session_service: ("STATUS_TIMEOUT", "CANCEL_TIMEOUT"),
    }.items():
        for name in names:
            monkeypatch.setattr(module, name, SHORT)


def operations_of_the_agent() -> set[str]:
    """The operations that the agent's code sends: strings that are passed to `open`, `call` and their wrappers."""
    found = set()
    for package in (sandbox_agent, sandbox_link):
        for path in Path(package.__file__).parent.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and _name(node.func) in {"open", "call", "_call_for_info"}:
                    found |= {
                        argument.value
                        for argument in node.args[:2]
                        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
                    }
    return found


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def operations_of_the_runtime() -> set[str]:
    """The operations that docs/link.md describes, in its tables."""
    text = (Path(__file__).parents[3] / "docs/link.md").read_text().partition("\n## Operations\n")[2]
    rows = [line.split("|")[1] for line in text.partition("\n## Supervisor")[0].splitlines() if line.startswith("| `")]
    return {name for row in rows for name in row.replace("`", "").replace(" ", "").split(",")}


# What the runtime says, as handlers of the scripted runtime.


async def never(_peer, _channel, _arguments):
    await asyncio.Event().wait()


async def byte_by_byte(peer, channel, _arguments):
    """A frame of a mebibyte, of which a byte comes now and then: the link is never silent."""
    frame = encode(FrameType.EVENT, channel, b'{"type":"entries"' + b" " * (1 << 20 - 1))
    for number in range(len(frame)):
        peer.raw(frame[number : number + 1])
        await asyncio.sleep(PAUSE)


BEGINNINGS = {
    "execute": {"type": "started", "context_id": "python", "execution_count": 1},
    "run": {"type": "started", "pid": 7},
    "process.start": {"type": "started", "pid": 7, "offset": 0},
    "process.attach": {"type": "started", "pid": 7, "offset": 0},
    "file.read": {"type": "info", "info": {**INFO, "size": 1 << 40}},
    "file.watch": {"type": "watching"},
    "workspace.read": {"type": "info", "info": {**INFO, "size": 1 << 40}},
    "workspace.watch": {"type": "watching"},
}
EMPTY = {
    "file.list": {"type": "entries", "entries": []},
    "file.search": {"type": "matches", "matches": []},
    "file.watch": {"type": "changes", "at_ns": 1, "changes": []},
    "workspace.scan": {"type": "entries", "entries": [INFO]},  # the same file each time
}
WITH_OUTPUT = {"execute": Stream.STDOUT, "run": Stream.STDOUT, "file.read": Stream.BODY}
WITH_OUTPUT |= {"process.start": Stream.STDOUT, "process.attach": Stream.STDOUT}
WITH_OUTPUT |= {"workspace.read": Stream.BODY, "variables.save": Stream.BODY}


async def endlessly(peer, channel, arguments):
    """Items that are in order, each within any limit on silence, and that lead nowhere."""
    op = arguments["op"]
    if op in BEGINNINGS:
        peer.event(channel, BEGINNINGS[op])
    while True:
        if op in WITH_OUTPUT:
            peer.data(channel, b"x", WITH_OUTPUT[op])
        else:
            peer.event(channel, EMPTY.get(op, {"type": "thinking"}))
        await asyncio.sleep(PAUSE)


async def flood(peer, channel, arguments):
    """More than the agent may keep, as fast as the socket takes it."""
    op = arguments["op"]
    if op in BEGINNINGS:
        peer.event(channel, BEGINNINGS[op])
    padded = {**EMPTY.get(op, {"type": "thinking"}), "padding": "x" * (256 << 10)}
    frame = encode_json(FrameType.EVENT, channel, padded)
    for _ in range(2 * MAX_BACKLOGS // len(frame)):
        peer.raw(frame)
        await peer.writer.drain()
    await asyncio.Event().wait()


WRONG = (None, True, -1, 1e999, "", "../x", [], [[]], {}, {"info": 3})
RESULTS = ("info", "info_after", "sha256", "bytes", "entries", "changes", "matches", "parts", "contexts", "variables")
RESULTS += ("processes", "interrupted", "restored", "commit", "token", "left_out", "next_page_token", "status", "kept")
RESULTS += ("id", "language", "duration", "exit_code", "files", "skipped", "limit", "dropped_bytes", "gone", "paths")


async def wrong_types(peer, channel, arguments):
    """Events and a result in which every value is of another type than it should be."""
    seen = peer.wrong = getattr(peer, "wrong", itertools.count())
    value = WRONG[next(seen) % len(WRONG)]
    if arguments["op"] in BEGINNINGS:
        peer.event(channel, BEGINNINGS[arguments["op"]])
    peer.event(channel, {"type": value, **dict.fromkeys(RESULTS, value)})
    peer.ok(channel, dict.fromkeys(RESULTS, value))


async def end_in_the_middle(peer, channel, _arguments):
    frame = encode_json(FrameType.CLOSE, channel, {"ok": {}})
    peer.raw(frame[: len(frame) // 2])
    await peer.close()


BEHAVIOURS = (never, byte_by_byte, endlessly, flood, wrong_types, end_in_the_middle)


class World:
    """A bound agent, and everything that reaches an operation."""

    def __init__(self, agent, runtime, scripted, connect, control, bind_request, folder):
        self.agent, self.runtime, self.scripted = agent, runtime, scripted
        self.connect, self.control, self.bind_request, self.folder = connect, control, bind_request, folder
        self.link = agent._link
        self.files = SandboxFiles(agent._link)
        self.numbers = itertools.count(1)

    def use(self, channel):
        self.file = file_pb2_grpc.FileServiceStub(channel)
        self.interpreter = interpreter_pb2_grpc.InterpreterServiceStub(channel)
        self.process = process_pb2_grpc.ProcessServiceStub(channel)

    async def started(self):
        """A background process that an honest runtime has started."""

        async def start(peer, channel, _arguments):
            peer.event(channel, {"type": "started", "pid": 1, "offset": 0})
            await asyncio.Event().wait()

        attacked = self.runtime.handlers.get("process.start")
        self.runtime.handlers["process.start"] = start
        command = process_pb2.RunRequest(shell="x", request_id=f"r{next(self.numbers)}")
        process = await self.process.Start(process_pb2.StartRequest(run=command))
        self.runtime.handlers["process.start"] = attacked
        return process.process_id

    async def variables(self):
        """A session's variables, of which some are stored."""

        async def save(peer, channel, _arguments):
            peer.data(channel, b"pickles", Stream.BODY)
            peer.ok(channel, {"bytes": 7})

        location = Location(DirectoryStore(self.folder), Keys("p/"), "team/one")
        honest = Variables(location, self.link, lambda: (1, "w", "t"))
        attacked = self.runtime.handlers.get("variables.save")
        self.runtime.handlers["variables.save"] = save
        await honest.save()
        self.runtime.handlers["variables.save"] = attacked
        return honest


async def everything(responses, most=50):
    """Read a stream to its end, or a part of one that is endless by design."""
    async for _ in responses:
        most -= 1
        if not most:
            responses.cancel()
            return


async def execute(world):
    request = interpreter_pb2.ExecuteRequest(code="1", language=1, timeout={"nanos": 200_000_000})
    await everything(world.interpreter.Execute(request), most=10_000)


async def run(world):
    request = process_pb2.RunRequest(shell="x", timeout={"nanos": 200_000_000})
    await everything(world.process.Run(request), most=10_000)


async def start_process(world):
    command = process_pb2.RunRequest(shell="x", request_id=f"r{next(world.numbers)}")
    await world.process.Start(process_pb2.StartRequest(run=command))


async def attach(world):
    await world.agent._processes.adopt(world.agent._gate.session)
    for process in world.agent._processes.list():
        await everything(world.process.Attach(process_pb2.AttachRequest(process_id=process.id)))


async def list_processes(world):
    await world.agent._processes.adopt(world.agent._gate.session)


async def send_input(world):
    """By design a process that reads nothing holds its writers, until they give up."""
    request = process_pb2.SendInputRequest(process_id=await world.started(), data=b"x")
    await world.process.SendInput(request, timeout=1.0)


async def signal(world):
    await world.process.Signal(process_pb2.SignalRequest(process_id=await world.started(), signal=15))


async def resize(world):
    request = process_pb2.ResizeRequest(process_id=await world.started(), terminal={"rows": 1, "columns": 1})
    await world.process.Resize(request)


async def write(world):
    yield_open = file_pb2.WriteRequest(open={"path": "a"})
    await world.file.Write(iter([yield_open, file_pb2.WriteRequest(data=b"x" * 1000)]))


async def watch(world):
    """Once it has begun, by design it lasts as long as its caller wants."""
    responses = world.file.Watch(file_pb2.WatchRequest(path="a"))
    async for _ in responses:
        break
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SHORT):
            await everything(responses)
    responses.cancel()


async def restored(world):
    restore = StartupRestore(delays=())
    restore.start(world.agent._gate.session)
    assert await restore.wait(ENDS_WITHIN) in {RestorePhase.FAILED, RestorePhase.DONE}
    await restore.close()


async def follow_changes(world):
    """The watch of automatic pushes: by design it lasts as long as the session."""
    call = await world.link.open("workspace.watch", {"exclude": []})
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SHORT):
            async for _ in call:
                pass
    await call.cancel()


async def restore_file(world):
    async def content():
        for _ in range(3):
            yield b"x"

    digest = "cd2eb0837c9b4c962c22d2ff8b5441b7b45805887f051d39bf133b583baf6860"
    await world.files.write(Entry("a", "file", 3, 0o644, 1, digest, "", ""), content())


async def read_for_storage(world):
    reading = await world.files.open(LOCAL)
    async for _ in reading.chunks():
        pass


async def look_at(world):
    await world.link._connection._probe(SHORT)


async def load_variables(world):
    await (await world.variables()).load()


DRIVERS = {
    "configure": lambda world: world.control.Bind(world.bind_request),
    "restored": restored,
    "status": look_at,
    "execute": execute,
    "interrupt": lambda world: world.interpreter.Interrupt(interpreter_pb2.InterruptRequest(context_id="c")),
    "context.create": lambda world: world.interpreter.CreateContext(interpreter_pb2.CreateContextRequest(language=1)),
    "context.list": lambda world: world.interpreter.ListContexts(interpreter_pb2.ListContextsRequest()),
    "context.restart": lambda world: world.interpreter.RestartContext(
        interpreter_pb2.RestartContextRequest(context_id="c")
    ),
    "context.delete": lambda world: world.interpreter.DeleteContext(
        interpreter_pb2.DeleteContextRequest(context_id="c")
    ),
    "run": run,
    "process.start": start_process,
    "process.attach": attach,
    "process.list": list_processes,
    "process.input": send_input,
    "process.signal": signal,
    "process.resize": resize,
    "metrics": lambda world: world.process.Metrics(process_pb2.MetricsRequest()),
    "file.read": lambda world: everything(world.file.Read(file_pb2.ReadRequest(path="a")), most=10_000),
    "file.write": write,
    "file.list": lambda world: world.file.List(file_pb2.ListFilesRequest(path="a")),
    "file.stat": lambda world: world.file.Stat(file_pb2.StatRequest(path="a")),
    "file.mkdir": lambda world: world.file.MakeDirectory(file_pb2.MakeDirectoryRequest(path="a")),
    "file.remove": lambda world: world.file.Remove(file_pb2.RemoveRequest(path="a")),
    "file.move": lambda world: world.file.Move(file_pb2.MoveRequest(source="a", destination="b")),
    "file.search": lambda world: everything(
        world.file.Search(file_pb2.SearchRequest(path="a", content_pattern="x", timeout={"nanos": 100_000_000})),
        most=10_000,
    ),
    "file.watch": watch,
    "workspace.watch": follow_changes,
    "workspace.scan": lambda world: world.files.scanner.scan((), ()),
    "workspace.hash": lambda world: world.files.hash(LOCAL),
    "workspace.read": read_for_storage,
    "workspace.write": restore_file,
    "workspace.commit": lambda world: world.files.read_commit(),
    "variables.save": lambda world: Variables(
        Location(DirectoryStore(world.folder), Keys("p/"), "team/one"), world.link, lambda: (1, "w", "t")
    ).save(),
    "variables.load": load_variables,
}


def test_every_operation_of_the_link_has_a_driver():
    """The agent's code, the documented protocol and this table name the same operations."""
    assert set(DRIVERS) == operations_of_the_agent()
    assert set(DRIVERS) == operations_of_the_runtime()


@pytest.fixture
async def world(hurried, agent, runtime, scripted, connect, control, bind_request, tmp_path):
    async def list_process(peer, channel, _arguments):
        label = '{"started_ms": 1, "command": "x", "fingerprint": ""}'
        peer.ok(channel, {"processes": [{"process_id": "adopted", "label": label}]})

    runtime.handlers["process.list"] = list_process
    runtime.handlers["context.list"] = scripted.answer({"contexts": []})
    bind_request.limits.execution_timeout.nanos = 300_000_000
    await control.Bind(bind_request)
    (tmp_path / "store").mkdir()
    world = World(agent, runtime, scripted, connect, control, bind_request, tmp_path / "store")
    async with connect() as channel:
        world.use(channel)
        yield world


async def ends(world, op):
    """Start the operation, and return how it ended; it must end in time."""
    try:
        async with asyncio.timeout(ENDS_WITHIN):
            await DRIVERS[op](world)
    except OperationError as error:
        return error.code
    except grpc.aio.AioRpcError as error:
        return error.code().name
    except asyncio.CancelledError:
        return "ended by the test"
    return "OK"


async def eventually(check, seconds=5.0):
    async with asyncio.timeout(seconds):
        while not await check():  # noqa: ASYNC110 - several conditions, none of which sets an event
            await asyncio.sleep(0.02)


def memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def own_tasks() -> int:
    """Tasks that run the product's code."""
    folders = tuple(str(Path(package.__file__).parent) for package in (sandbox_agent, sandbox_link))
    codes = [getattr(task.get_coro(), "cr_code", None) for task in asyncio.all_tasks()]
    return sum(code is not None and code.co_filename.startswith(folders) for code in codes)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("op", sorted(DRIVERS))
async def test_the_call_ends_whatever_the_runtime_answers_and_others_are_served(world, op):
    honest = world.runtime.handlers.get(op)
    before = SimpleNamespace(tasks=own_tasks(), descriptors=descriptors(), memory=memory())
    for behaviour in BEHAVIOURS:
        world.runtime.handlers[op] = behaviour
        began = time.monotonic()
        ended = await ends(world, op)
        assert time.monotonic() - began < ENDS_WITHIN, behaviour.__name__
        assert ended not in {"UNKNOWN", "INTERNAL"} or op.startswith("workspace."), (behaviour.__name__, ended)
        # The operator is answered, whatever the link does.
        await world.control.Describe(session_pb2.DescribeRequest(), timeout=3.0)
        lifetime = session_pb2.SetLifetimeRequest(session_uid="uid-1", remaining={"seconds": 3600})
        await world.control.SetLifetime(lifetime, timeout=3.0)
        assert memory() - before.memory < MEMORY, behaviour.__name__
        # It gives up, or is killed: the next one serves.
        world.runtime.handlers[op] = honest
        for peer in list(world.runtime.peers):
            await peer.close()
        await eventually(lambda: is_served(world))
    await eventually(lambda: has_returned(before, world))


async def is_served(world):
    with contextlib.suppress(grpc.aio.AioRpcError):
        if world.runtime.handlers.get("context.list") is not None:
            return not (await world.interpreter.ListContexts(interpreter_pb2.ListContextsRequest())).contexts
    return False


async def has_returned(before, world):
    calls = len(world.link._connection._calls) if world.link._connection is not None else 1
    return own_tasks() <= before.tasks and descriptors() <= before.descriptors + 2 and not calls


async def scan_one(peer, channel, _arguments):
    peer.event(channel, {"type": "entries", "entries": [INFO]})
    peer.ok(channel, {})


async def read_one(peer, channel, _arguments):
    peer.event(channel, {"type": "info", "info": INFO})
    peer.data(channel, b"abc", Stream.BODY)
    peer.ok(channel, {"bytes": 3, "info_after": INFO})


async def remember(peer, channel, _arguments):
    peer.ok(channel, {"commit": ""})


async def signal_nothing(peer, channel, _arguments):
    peer.ok(channel, {})


async def save_nothing(peer, channel, _arguments):
    peer.ok(channel, {"bytes": 0})


HONEST = {
    "workspace.scan": scan_one,
    "workspace.read": read_one,
    "workspace.commit": remember,
    "workspace.watch": never,
    "process.signal": signal_nothing,
    "variables.save": save_nothing,
}
DRAIN_SECONDS = 1.0


@pytest.fixture
async def stored(world, tmp_path, agent, scripted):
    """The world, whose session has storage and a process that runs."""
    world.runtime.handlers.update({**HONEST, "variables.load": scripted.answer({})})
    binding = world.bind_request.workspace
    binding.directory.path, binding.key_prefix, binding.save_on_change = str(tmp_path / "store"), "p/", True
    world.bind_request.lifecycle.keep_variables = True
    agent._gate._session = agent._gate._binding = None  # bound again, with storage
    agent._gate.restoration = StartupRestore(delays=())
    await world.control.Bind(world.bind_request)
    described = await world.control.Describe(session_pb2.DescribeRequest(wait={"seconds": 10}))
    assert described.restore == session_pb2.SessionDescription.RESTORE_STATE_DONE, described.restore_error
    await world.started()
    return world


async def drained(world, seconds=DRAIN_SECONDS):
    request = session_pb2.DrainRequest(session_uid="uid-1", require_all_files=True)
    request.time_limit.FromNanoseconds(int(seconds * 1e9))
    return await world.control.Drain(request)


async def test_an_honest_runtime_is_drained(stored):
    ended = await drained(stored, 20.0)
    assert ended.state == session_pb2.SessionDescription.STATE_DRAINED
    assert ended.workspace.files == 1


async def test_a_drain_saves_though_no_signal_is_answered(stored):
    stored.runtime.handlers["process.signal"] = never
    async with asyncio.timeout(ENDS_WITHIN):
        assert (await drained(stored, 20.0)).state == session_pb2.SessionDescription.STATE_DRAINED


@pytest.mark.parametrize("op", sorted(HONEST))
async def test_a_drain_and_the_last_push_end_in_time_whatever_the_runtime_answers(stored, op):
    """The operator can go on, and the agent takes the next drain."""
    before = SimpleNamespace(tasks=own_tasks(), descriptors=descriptors())
    for behaviour in BEHAVIOURS:
        stored.runtime.handlers[op] = behaviour
        began = time.monotonic()
        with contextlib.suppress(grpc.aio.AioRpcError):
            await drained(stored)
        assert time.monotonic() - began < DRAIN_SECONDS + SHORT + 2.0, behaviour.__name__
        described = await stored.control.Describe(session_pb2.DescribeRequest(), timeout=2.0)
        await eventually(lambda: is_settled(stored))
        assert described.session_uid == "uid-1"
        stored.agent._gate.state = session_service.State.BOUND
        stored.runtime.handlers[op] = HONEST[op]
        for peer in list(stored.runtime.peers):
            await peer.close()
        await eventually(lambda: is_served(stored))
    stored.runtime.handlers[op] = byte_by_byte
    stored.agent._settings = dataclasses.replace(stored.agent._settings, stop_seconds=0.5)
    async with asyncio.timeout(0.5 + ENDS_WITHIN):
        await stored.agent.finish()
    assert own_tasks() <= before.tasks + 2


async def is_settled(world):
    states = session_pb2.SessionDescription
    described = await world.control.Describe(session_pb2.DescribeRequest(), timeout=2.0)
    return described.state in {states.STATE_BOUND, states.STATE_DRAINED}


async def test_a_runtime_that_reads_nothing_fills_no_memory_and_is_hung_up_on(world):
    """It sends now and then, so it is not silent, and its socket takes nothing."""
    connection, theirs = world.link._connection, world.runtime.peers[0]
    theirs.writer.transport.pause_reading()

    async def talk():
        while True:
            theirs.event(0, {"type": "context_exited"})
            await asyncio.sleep(PAUSE)

    talking = asyncio.create_task(talk())
    watching = asyncio.create_task(connection.watch(silence=0.1, timeout=0.3))
    arguments = {"padding": "x" * (900 << 10)}
    opening = [asyncio.create_task(connection.open("file.stat", arguments)) for _ in range(200)]
    await asyncio.sleep(0.1)
    assert connection._frames.unsent < 4 << 20
    async with asyncio.timeout(ENDS_WITHIN):
        await watching
        ends = await asyncio.gather(*opening, return_exceptions=True)
    assert connection.is_lost
    assert sum(isinstance(end, OperationError) for end in ends) > 150
    talking.cancel()


async def test_a_runtime_that_hangs_up_after_each_hello_is_not_dialled_all_the_time(world):
    world.runtime.connections = 0

    async def leave(peer):
        await asyncio.sleep(0)
        await peer.close()

    end = time.monotonic() + 2.0
    while time.monotonic() < end:
        for peer in list(world.runtime.peers):
            await leave(peer)
        await asyncio.sleep(0.01)
    assert world.runtime.connections <= 8


NAMES = 4000
LONG = {"path": "x", "type": "symlink", "size": 1, "mode": 0o777, "mtime_ns": 1, "ctime_ns": 1, "ino": 1}


@pytest.mark.parametrize("kind", ["entries", "gone", "left_out"])
async def test_a_scan_fills_no_memory_with_names(world, kind, monkeypatch):
    """Each list of a scan has a bound, and the error says what to do."""
    monkeypatch.setattr(timeouts, "REQUEST_TIMEOUT", 60.0)

    async def scan(peer, channel, _arguments):
        for number in range(1000):
            names = [f"{number:04}{each:04}".ljust(NAMES, "y") for each in range(100)]
            listed = {
                "entries": [{**LONG, "path": name, "symlink_target": name} for name in names],
                "gone": names,
                "left_out": [{"path": name, "reason": "r"} for name in names],
            }[kind]
            key = "entries" if kind == "entries" else "paths"
            peer.event(channel, {"type": kind, key: listed})
            await peer.writer.drain()
        peer.ok(channel, {})

    world.runtime.handlers["workspace.scan"] = scan
    before, peaks = memory(), []

    async def measure():
        while True:
            peaks.append(memory())
            await asyncio.sleep(PAUSE)

    measuring = asyncio.create_task(measure())
    if kind == "gone":
        # They name nothing that an earlier scan found, so none is kept.
        assert (await world.files.scanner.scan((), ())).found == {}
    else:
        with pytest.raises(OperationError) as caught:
            await world.files.scanner.scan((), ())
        assert {"entries": "names of the workspace's files", "left_out": "more than 1000 paths"}[kind] in str(
            caught.value
        )
    measuring.cancel()
    assert max(peaks) - before < MEMORY
