"""The gateway's sessions on this machine, for real."""

import asyncio
import datetime as dt
import time

import pytest

from sandbox_client import AsyncSandbox, Conflict, FailedPrecondition, NotFound, NotSupported, ResourceExhausted
from sandbox_client.local.named.registry import Registry
from sandbox_gateway.backend import Caller, NewSession
from sandbox_gateway.backends.local import LocalBackend

ME, OTHER = Caller(name="me", key_id="k1"), Caller(name="other")


@pytest.fixture
async def backend():
    backend = LocalBackend({"base": ""})
    yield backend
    await backend.close()


async def test_the_life_of_a_session(backend):
    asked = NewSession(template="base", seconds=600, env={"GREETING": "hello"}, metadata={"user": "ada", "wörd": "ü"})
    made = await backend.create(ME, asked)
    name = made.info.name
    assert (made.info.phase, made.info.template, made.owner, made.key_id) == ("Ready", "base", "me", "k1")
    assert made.metadata == {"user": "ada", "wörd": "ü"}
    assert abs((made.info.expires_at - dt.datetime.now(dt.UTC)).total_seconds() - 600) < 30

    first, second = await asyncio.gather(backend.connect(ME, name), backend.connect(ME, name))
    assert first is second
    assert (await first.run_code("import os; print(os.environ['GREETING'])")).stdout == "hello\n"
    await first.files.write("kept.txt", b"1")

    assert [each.info.name for each in await backend.list(ME, {"user": "ada"})] == [name]
    assert await backend.list(ME, {"user": "bob"}) == []
    assert (await backend.get(ME, name)) == made

    assert (await backend.suspend(ME, name)).info.phase == "Suspended"
    with pytest.raises(FailedPrecondition, match="is suspended"):
        await backend.connect(ME, name, wake=False)
    assert (await backend.get(ME, name)).metadata == made.metadata
    # The shared connection wakes the session by itself.
    assert await (await backend.connect(ME, name)).files.read("kept.txt") == b"1"

    ends = await backend.set_timeout(ME, name, 1000)
    assert abs((ends - dt.datetime.now(dt.UTC)).total_seconds() - 1000) < 30
    await backend.suspend(ME, name)
    resumed = await backend.resume(ME, name, 500)
    assert abs((resumed.info.expires_at - dt.datetime.now(dt.UTC)).total_seconds() - 500) < 30
    assert (await (await backend.connect(ME, name, wake=False)).run("cat kept.txt")).stdout == "1"

    await backend.delete(ME, name)
    for call in (backend.get(ME, name), backend.connect(ME, name), backend.delete(ME, name), backend.suspend(ME, name)):
        with pytest.raises(NotFound):
            await call


async def test_a_name_is_one_session_of_its_caller(backend):
    made = await asyncio.gather(*(backend.create(ME, NewSession(name="mine")) for _ in range(2)))
    assert made[0].uid == made[1].uid
    await backend.suspend(ME, "mine")
    assert (await backend.create(ME, NewSession(name="mine"))).info.phase == "Ready"
    with pytest.raises(Conflict, match="of another key"):
        await backend.create(OTHER, NewSession(name="mine"))


async def test_a_session_of_the_command_line_is_there_too(backend):
    async with await AsyncSandbox.create_local("by-hand") as sandbox:
        await sandbox.run_code("x = 41")
        shared = await backend.connect(ME, "by-hand")
        assert (await shared.run_code("x + 1")).text == "42"
        assert [each.owner for each in await backend.list(ME)] == [""]


async def test_a_session_is_deleted_at_its_end_or_suspended(backend):
    await backend.create(ME, NewSession(name="gone", seconds=1.5))
    await backend.create(ME, NewSession(name="asleep", seconds=1.5, on_timeout="suspend"))
    deadline = time.monotonic() + 60
    while Registry().names() != ["asleep"] or (await backend.get(ME, "asleep")).info.phase != "Suspended":
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


async def test_the_number_of_sessions_of_a_caller_is_limited(backend):
    caller = Caller(name="small", max_sessions=1)
    results = await asyncio.gather(*(backend.create(caller, NewSession()) for _ in range(3)), return_exceptions=True)
    assert sorted(type(each).__name__ for each in results) == ["GatewaySession", *["ResourceExhausted"] * 2]
    [running] = await backend.list(caller)
    await backend.suspend(caller, running.info.name)
    await backend.create(caller, NewSession(name="next"))
    with pytest.raises(ResourceExhausted):
        await backend.resume(caller, running.info.name)
    with pytest.raises(ResourceExhausted):
        await backend.connect(caller, running.info.name)


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "A", "x" * 64, "a\0b", "local/../x"])
async def test_a_name_leads_to_no_other_folder(backend, name):
    for call in (backend.get, backend.connect, backend.suspend, backend.resume, backend.delete):
        with pytest.raises(NotFound):
            await call(ME, name)


async def test_what_this_machine_cannot_do_is_refused(backend):
    with pytest.raises(NotSupported):
        await backend.create(ME, NewSession(egress="allowlist"))
    with pytest.raises(NotFound, match="sessions on this machine have none"):
        await backend.create(ME, NewSession(template="python-3.9"))
    assert Registry().names() == []


async def test_a_user_of_an_issuer_sees_own_sessions_only(backend):
    eve = Caller(name="user:oauth:eve", sees_own_only=True)
    name = (await backend.create(ME, NewSession())).info.name
    for call in (backend.get, backend.connect, backend.suspend, backend.resume, backend.delete):
        with pytest.raises(NotFound):
            await call(eve, name)
    for call in (backend.set_timeout, backend.logs):
        with pytest.raises(NotFound):
            await call(eve, name, 5)
    assert await backend.list(eve) == []
    await backend.delete(ME, name)
