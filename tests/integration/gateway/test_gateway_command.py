"""`sandbox gateway` as a newcomer starts it, and our own SDK through it, with real sessions of this machine."""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from sandbox_client import (
    AsyncSandbox,
    Conflict,
    InvalidArgument,
    NotFound,
    NotSupported,
    Sandbox,
    SandboxUnavailable,
    Unauthenticated,
)
from sandbox_client.cli import main
from sandbox_client.local.named.registry import Registry


@contextlib.contextmanager
def gateway(*words):
    """Start the command and yield its process and URL."""
    command = [sys.executable, "-m", "sandbox_client", "gateway", "--listen", "127.0.0.1:0", *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        for line in process.stderr:
            if found := re.search(r"listening on (http://\S+?);? ", line):
                break
        yield process, found[1]
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def url():
    with gateway() as (_, url):
        yield url


@pytest.fixture
def place(url, home):
    """The options of a client, from what `sandbox gateway env` prints."""
    script = f'eval "$({sys.executable} -m sandbox_client gateway env --listen {url.removeprefix("http://")})"; env'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    variables = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    assert variables["E2B_API_KEY"] == variables["SANDBOX_API_KEY"]
    assert variables["E2B_API_URL"] == variables["SANDBOX_GATEWAY"] == url
    assert variables["AWS_ENDPOINT_URL_BEDROCK_AGENTCORE"] == url
    return {"gateway": variables["SANDBOX_GATEWAY"], "api_key": variables["SANDBOX_API_KEY"]}


def test_the_tour_through_the_gateway(place):
    with Sandbox.create("tour", env={"A": "hello"}, idle_timeout="1h", **place) as sandbox:
        assert sandbox.run_code("import os; x = 41; os.environ['A']").text == "'hello'"
        sandbox.files.write("a.txt", b"kept")
        assert sandbox.info().phase == "Ready"
        before = sandbox.info().expires_at
        assert sandbox.set_timeout("2h") < before
        assert [each.name for each in Sandbox.list(**place)] == ["tour"]
        sandbox.suspend()
        assert sandbox.info().is_suspended
        # The next call wakes it.
        assert sandbox.files.read("a.txt") == b"kept"
        assert sandbox.notice.startswith("the session was suspended and has been resumed")
    with Sandbox.connect("tour", **place) as again:
        assert again.run("cat a.txt").stdout == "kept"
        assert again.notice == ""
        again.suspend()
    with Sandbox.connect("tour", **place) as woken:
        assert "was suspended" in woken.notice
        woken.delete()
    with pytest.raises(NotFound):
        Sandbox.connect("tour", **place)


def test_the_environment_leads_to_the_gateway(place, monkeypatch):
    monkeypatch.setenv("SANDBOX_GATEWAY", place["gateway"])
    monkeypatch.setenv("SANDBOX_API_KEY", place["api_key"])
    with Sandbox.create() as sandbox:
        assert sandbox.run_code("1 + 1").text == "2"
        name = sandbox.name
        command = [sys.executable, "-m", "sandbox_client", "exec", "--session", name, "--", "echo", "through"]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "through\n"
    # Without a name it is ephemeral.
    assert Registry().names() == []


def test_the_commands_about_sessions_use_the_gateway_too(place, monkeypatch):
    monkeypatch.setenv("SANDBOX_GATEWAY", place["gateway"])
    monkeypatch.setenv("SANDBOX_API_KEY", place["api_key"])

    def sandbox(*words):
        done = CliRunner().invoke(main, [*words])
        assert done.exit_code == 0, done.output
        return done.stdout

    assert sandbox("create", "cli", "--env", "A=1") == "cli\n"
    assert "cli is Suspended" in sandbox("suspend", "cli")
    [row] = [each for each in json.loads(sandbox("list", "-o", "json")) if each["name"] == "cli"]
    assert row["phase"] == "Suspended"
    assert "cli is Ready" in sandbox("resume", "cli", "--expires", "1h")
    assert "in 30m" in sandbox("timeout", "cli", "30m")
    assert json.loads(sandbox("get", "cli", "-o", "json"))["status"]["phase"] == "Ready"
    assert "agent: " in sandbox("logs", "cli")
    assert sandbox("exec", "--session", "cli", "--", "printenv", "A") == "1\n"
    refused = CliRunner().invoke(main, ["logs", "-f", "cli"])
    assert (refused.exit_code, "leave out --follow" in refused.stderr) == (125, True)
    assert "cli is being deleted" in sandbox("delete", "cli")
    assert Registry().names() == []


def test_a_session_that_was_suspended_by_others_is_followed(place):
    with Sandbox.create("s", **place) as first, Sandbox.connect("s", **place) as second:
        first.run_code("x = 1")
        second.suspend()
        second.resume()
        assert first.run_code("'x' in globals()").text == "False"
        assert "was suspended and has been resumed" in first.notice
        assert second.run("echo here").stdout == "here\n"
        second.delete()
        with pytest.raises(SandboxUnavailable, match="it was deleted"):
            first.run_code("1")


def test_errors_are_those_of_a_cluster(place):
    with Sandbox.create("s", **place):
        pass
    with pytest.raises(Conflict, match="there is a session s already"):
        Sandbox.create("s", **place)
    with pytest.raises(NotSupported) as caught:
        Sandbox.create("t", resources={"cpu": 1}, **place)
    assert caught.value.field == "resources"
    with pytest.raises(InvalidArgument) as caught:
        Sandbox.create("t", spec={}, **place)
    assert caught.value.field == "spec"
    with pytest.raises(Unauthenticated, match="not valid"):
        Sandbox.connect("s", gateway=place["gateway"], api_key="e2b_" + "0" * 40)
    with pytest.raises(SandboxUnavailable, match="does not respond"):
        Sandbox.connect("s", gateway="http://127.0.0.1:9", api_key="k")
    with pytest.raises(InvalidArgument, match="leave this out"):
        Sandbox.connect("local/s", **place)


async def test_a_create_that_is_given_up_leaves_no_session(place):
    creating = asyncio.create_task(AsyncSandbox.create(**place))
    while not Registry().names():  # noqa: ASYNC110 - another process writes it
        await asyncio.sleep(0.02)
    creating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creating
    assert Registry().names() == []


async def test_sessions_outlive_the_gateway(home):
    with gateway() as (process, url):
        api_key = json.loads((home / "state/sandbox/gateway.json").read_text())["api_key"]
        sandbox = await AsyncSandbox.create("s", gateway=url, api_key=api_key)
        await sandbox.run_code("x = 1")
        running = asyncio.create_task(sandbox.run_code("import time; time.sleep(3); x + 1"))
        await asyncio.sleep(1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) in (0, -signal.SIGTERM)
        # Calls do not pass through it.
        assert (await running).text == "2"
        assert (await sandbox.run_code("x")).text == "1"
        await sandbox.close()
    with gateway() as (_, url):
        async with await AsyncSandbox.connect("s", gateway=url, api_key=api_key) as again:
            assert (await again.run_code("x")).text == "1"


def test_no_secret_is_logged(home):
    with gateway() as (process, url):
        api_key = json.loads((home / "state/sandbox/gateway.json").read_text())["api_key"]
        with Sandbox.create("s", gateway=url, api_key=api_key, env={"PASSWORD": "hunter22"}) as sandbox:
            token = sandbox.endpoint.token
        with pytest.raises(Unauthenticated):
            Sandbox.connect("s", gateway=url, api_key="e2b_" + "1" * 40)
        time.sleep(0.2)
        os.kill(process.pid, signal.SIGTERM)
        log = process.stderr.read()
    assert "POST 127.0.0.1" in log
    assert "caller=local" in log
    for secret in (api_key, token, "hunter22", "1" * 40):
        assert secret not in log
