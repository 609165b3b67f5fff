"""`sandbox logs`: the last lines of a session's containers, and new ones as they come."""

import threading

import pytest
from click.testing import CliRunner

from sandbox_client.cli import main
from sandbox_client.cli.cluster import logs as command

WAIT = 20


@pytest.fixture
def cli(api, tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", api.write_kubeconfig(tmp_path))
    api.sessions["s"] = {"metadata": {"name": "s"}, "spec": {}, "status": {"podName": "s-pod", "phase": "Ready"}}
    return lambda *words: CliRunner().invoke(main, ["logs", *words])


def test_the_last_lines_of_both_containers_are_printed(api, cli):
    api.logs = {"agent": [b"one\ntwo\n"], "sandbox": [b"\xff\n"]}
    assert cli("s").stdout == "agent: one\nagent: two\nsandbox: \ufffd\n"
    assert cli("s", "--container", "agent").stdout == "one\ntwo\n"
    assert cli("s", "-o", "json").stdout == '{"agent": "one\\ntwo\\n", "sandbox": "\ufffd\\n"}\n'


def test_new_lines_are_printed_as_they_come_until_the_pod_ends(api, cli, monkeypatch):
    printed = {"agent": threading.Event(), "sandbox": threading.Event()}
    show = command._print

    def notice(target, lines, container=None):
        for each, line in lines:
            show(target, iter([(each, line)]), container)
            printed[each].set()

    monkeypatch.setattr(command, "_print", notice)

    def agent():
        yield b"first \xc3"
        yield b"\xa4\n"
        # The server goes on only after the client has printed a line, and both logs are followed at the same time.
        assert printed["agent"].wait(WAIT)
        assert printed["sandbox"].wait(WAIT)
        yield b"second\nend"

    api.logs = {"agent": agent(), "sandbox": [b"runtime\n"]}
    done = cli("s", "-f")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("agent")] == ["agent: first ä", "agent: second", "agent: end"]
    assert "sandbox: runtime" in lines
    assert done.stderr == "the log has ended: s has lost its pod\n"


def test_a_log_that_cannot_be_followed_is_named(api, cli):
    assert cli("s", "-f", "-o", "json").exit_code == 2
    api.sessions["s"]["status"] = {"phase": "Suspended"}
    done = cli("s", "--follow")
    assert done.exit_code == 125
    assert "session s has no pod" in done.stderr


def test_a_lost_connection_ends_with_a_sentence(api, cli):
    def cut():
        yield b"first\n"
        raise ConnectionResetError

    api.logs = {"agent": cut(), "sandbox": []}
    api.handle_error = lambda *_: None
    done = cli("s", "-f")
    assert done.exit_code == 125
    assert "agent: first\n" in done.stdout
    assert "the connection to the log was lost" in done.stderr
