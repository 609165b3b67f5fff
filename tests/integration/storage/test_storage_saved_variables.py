"""Variables beside the files in a bucket: handed back once, with the files of their own commit and no others."""

import pytest

from sandbox_agent.storage import saved_variables
from sandbox_link.frames import Stream
from sandbox_link.protocol import OperationError
from sandbox_testing.store import Fault

BLOB = bytes(range(256)) * 20_000
SESSION = "team/one"


class Interpreters:
    """The runtime's two operations: gives one blob, takes what comes."""

    def __init__(self, blob=BLOB):
        self.blob = blob
        self.loaded = []
        self.problems = []

    async def save(self, channel):
        for start in range(0, len(self.blob), 1 << 20):
            await channel.send(Stream.BODY, self.blob[start : start + (1 << 20)])
        return {"bytes": len(self.blob)}

    async def load(self, channel):
        if problem := channel.arguments.get("problem"):
            self.problems.append(problem)
            return {}
        data = bytearray()
        while (piece := await channel.receive()) is not None:
            data += piece
        self.loaded.append(bytes(data))
        return {}


@pytest.fixture
def new_session(new_sandbox):
    """A sandbox whose files are restored, its interpreters, and its variables."""

    async def make(session=SESSION, **options):
        sandbox = new_sandbox(**options)
        interpreters = Interpreters()
        handlers = {"variables.save": interpreters.save, "variables.load": interpreters.load}
        sandbox.runtime._handlers.update(handlers)
        await sandbox.restore()
        return sandbox, interpreters, sandbox.workspace.variables_of(session)

    return make


def kept(keys):
    return [key for key in keys if key.startswith(".workspace/variables/")]


async def test_variables_are_handed_back_once_to_the_session_that_they_are_of(new_session):
    sandbox, _, variables = await new_session()
    sandbox.write("file", b"1")
    await sandbox.push()
    await variables.save()
    assert len(kept(await sandbox.keys())) == 1

    _, strangers, foreign = await new_session("team/other")
    await foreign.load()
    await foreign.forget()
    woken, interpreters, variables = await new_session()
    await variables.load()
    assert (strangers.loaded, interpreters.loaded, interpreters.problems) == ([], [BLOB], [])
    await variables.forget()
    assert kept(await woken.keys()) == []
    assert [file.path for file in (await woken.workspace.list_stored()).files] == ["code-interpreter/file"]

    _, again, variables = await new_session()
    await variables.load()
    assert (again.loaded, again.problems) == ([], [])


async def test_variables_are_not_used_with_files_that_were_saved_after_them(new_session):
    sandbox, _, variables = await new_session()
    await variables.save()
    sandbox.write("file", b"newer")
    await sandbox.push()
    _, interpreters, variables = await new_session()
    await variables.load()
    assert interpreters.loaded == []
    assert interpreters.problems == ["files were saved after the variables: the two do not belong together"]


async def test_variables_that_could_not_be_saved_leave_no_older_ones_behind(new_session):
    sandbox, interpreters, variables = await new_session()
    await variables.save()

    def refuse(op, _arguments):
        if op == "variables.save":
            raise OperationError("UNAVAILABLE", "RUNTIME_UNAVAILABLE", "gone")

    sandbox.runtime.before = refuse
    await variables.save()
    assert kept(await sandbox.keys()) == []
    sandbox.runtime.before = lambda op, arguments: None
    for fault in Fault:
        await variables.save()
        sandbox.store.fail_after(0, fault, only="put")
        await variables.save()
        sandbox.store.heal()
        assert kept(await sandbox.keys()) == []
    await variables.save()
    interpreters.blob = b""
    await variables.save()
    assert kept(await sandbox.keys()) == []


@pytest.mark.parametrize("position", [0, 20, 5_000, -1])
async def test_a_damaged_object_is_told_and_not_handed_back(new_session, position):
    sandbox, _, variables = await new_session()
    await variables.save()
    key = variables._location.key
    async with sandbox.store.get(key) as stored:
        content = bytearray(b"".join([chunk async for chunk in stored.chunks]))
    content[position] ^= 1
    await sandbox.store.put(key, bytes(content))
    _, interpreters, variables = await new_session()
    await variables.load()
    assert (interpreters.loaded, interpreters.problems) == ([], ["the saved variables are damaged"])


@pytest.mark.parametrize("content", [b"", b"\n", b"{}\n", b"x" * 9000])
async def test_an_object_that_is_none_of_ours_is_told(new_session, content):
    sandbox, interpreters, variables = await new_session()
    await sandbox.store.put(variables._location.key, content)
    await variables.load()
    assert (interpreters.loaded, interpreters.problems) == ([], ["the saved variables are damaged"])


async def test_an_object_that_is_too_large_is_told_and_not_handed_back(new_session, monkeypatch):
    _, _, variables = await new_session()
    await variables.save()
    monkeypatch.setattr(saved_variables, "_MAX_OBJECT_BYTES", len(BLOB))
    _, interpreters, variables = await new_session()
    await variables.load()
    assert (interpreters.loaded, interpreters.problems) == ([], ["the saved variables are damaged"])


async def test_a_runtime_that_sends_too_much_saves_nothing(new_session, monkeypatch):
    sandbox, _, variables = await new_session()
    monkeypatch.setattr(saved_variables, "_MAX_OBJECT_BYTES", len(BLOB) - 1)
    await variables.save()
    assert kept(await sandbox.keys()) == []
    monkeypatch.setattr(saved_variables, "_MAX_OBJECT_BYTES", len(BLOB))
    await variables.save()
    assert len(kept(await sandbox.keys())) == 1


async def test_variables_that_storage_does_not_give_are_told_and_cost_nothing_else(new_session):
    sandbox, interpreters, variables = await new_session()
    await variables.save()
    sandbox.store.fail_after(0, only="get")
    await variables.load()
    [problem] = interpreters.problems
    assert problem.startswith("they could not be loaded: storage is not available")
