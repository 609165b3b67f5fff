"""Pure parts of the runtime, and the seccomp filter in a forked child."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_link.frames import INITIAL_WINDOW, FrameDecoder, FrameType, Stream
from sandbox_link.protocol import OperationError
from sandbox_runtime import user_home
from sandbox_runtime.execution.output_limit import OutputLimit
from sandbox_runtime.javascript import find_node
from sandbox_runtime.limits.memory_usage import OomCounter
from sandbox_runtime.link.channel import LinkChannel
from sandbox_runtime.linux.process_tree import find_tree, kill_tree
from sandbox_runtime.python.output.mime_bundles import build_bundle
from sandbox_runtime.python.output.tracebacks import describe_error
from sandbox_runtime.python.shell_lines import rewrite_shell_lines
from sandbox_runtime.restart_file import RestartFile
from sandbox_runtime.session_state import SessionState
from sandbox_runtime.settings import Limits, Settings, read_env


@given(st.lists(st.binary(max_size=50), max_size=30), st.integers(min_value=0, max_value=200))
def test_the_output_limit_keeps_the_first_half_and_the_end(pieces, limit):
    output = OutputLimit(limit)
    kept = b"".join(bytes(output.admit(Stream.STDOUT, memoryview(piece))) for piece in pieces)
    kept += b"".join(bytes(data) for _, data in output.take_tail())
    whole = b"".join(pieces)
    head = limit // 2
    expected = whole if len(whole) <= limit else whole[:head] + whole[len(whole) - (limit - head) :]
    assert kept == expected
    assert output.dropped == len(whole) - len(kept)


def test_settings_have_the_defaults_of_the_pod_contract():
    settings = Settings.from_environment({})
    assert [str(settings.link_dir), str(settings.workspace), str(settings.home)] == [
        "/run/sandbox",
        "/workspace",
        "/home/sandbox",
    ]
    assert settings.preload == ("numpy", "pandas", "matplotlib.pyplot")
    assert Settings.from_environment({"SANDBOX_ZYGOTE_PRELOAD": ""}).preload == ()


@pytest.mark.parametrize(
    "values",
    [
        {"execution_timeout": -1},
        {"execution_timeout": float("nan")},
        {"output_bytes": 1.5},
        {"processes": True},
        {"languages": ["ruby"]},
    ],
)
def test_limits_that_make_no_sense_are_refused_by_name_and_change_nothing(values):
    limits = Limits()
    with pytest.raises(OperationError) as caught:
        limits.update({"file_bytes": 5, **values})
    assert caught.value.field in values
    assert limits == Limits()


@pytest.mark.parametrize("value", [[], {"A": 1}, {"A=B": ""}, {"": ""}, {"A": "\0"}])
def test_an_environment_that_no_process_could_have_is_refused(value):
    with pytest.raises(OperationError):
        read_env(value)


def test_credentials_of_the_parent_do_not_reach_user_code(tmp_path):
    parent = {"AWS_SECRET_ACCESS_KEY": "x", "TOKEN": "x", "LC_ALL": "C", "PATH": "/bin", "MINE": "y"}
    built = user_home.build_environment({**parent, "SANDBOX_PASS_ENVIRONMENT": "MINE"}, tmp_path, "")
    assert "x" not in built.values()
    assert (built["LC_ALL"], built["MINE"], built["MPLBACKEND"]) == ("C", "y", "Agg")
    assert built["PATH"].split(":")[:2] == [str(tmp_path / "venv" / "bin"), str(tmp_path / "npm" / "bin")]


def test_the_venv_is_one_to_its_own_python_and_sees_the_runtimes_packages(tmp_path):
    user_home.prepare_home(tmp_path)
    user_home.prepare_home(tmp_path)
    code = "import sys, pytest, sysconfig; print(sys.prefix); print(sysconfig.get_path('purelib'))"
    python = tmp_path / "venv" / "bin" / "python"
    output = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert output == [str(tmp_path / "venv"), str(user_home.venv_site_packages(tmp_path))]


def test_the_shell_has_the_interpreters_node_and_the_npm_that_came_with_it(tmp_path):
    node = find_node()
    for _ in range(2):
        user_home.prepare_home(tmp_path, node)
    environment = user_home.build_environment({"PATH": "/usr/bin:/bin"}, tmp_path, node)
    command = "node -p process.execPath; npm prefix --global; npx --version"
    output = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=True, env=environment, cwd=tmp_path
    ).stdout.split()
    assert output[:2] == [os.path.realpath(node), str(tmp_path / "npm")]
    assert re.fullmatch(r"\d+\.\d+\.\d+", output[2])


@pytest.mark.parametrize(
    ("text", "expected"),
    [("oom_kill_disable 0\nunder_oom 0\noom_kill {}\n", True), ("low 0\noom 0\noom_kill {}\noom_group_kill 0\n", True)],
)
def test_a_risen_oom_counter_is_told_once(tmp_path, text, expected):
    file = tmp_path / "events"
    file.write_text(text.format(1))
    counter = OomCounter((file,))
    assert not counter.has_risen()
    file.write_text(text.format(2))
    assert counter.has_risen() is expected
    assert not counter.has_risen()
    assert not OomCounter(()).has_risen()


def test_a_tree_is_found_by_its_mark_after_setsid_and_killed():
    tree = "f" * 8 + f"{os.getpid():08x}"
    environment = {**os.environ, "SANDBOX_TREE": tree}
    process = subprocess.Popen(["sleep", "1000"], env=environment, start_new_session=True)
    try:
        while find_tree(tree, None) != {process.pid}:
            assert process.poll() is None
        asyncio.run(kill_tree(tree, None))
        assert process.wait(5) == -9
    finally:
        process.kill()


def frames_of(sent):
    decoder = FrameDecoder()
    return [frame for data in sent for frame in decoder.feed(data)]


async def test_output_waits_for_credit_and_keeps_its_order_with_events():
    sent, ended = [], []
    channel = LinkChannel(3, {}, sent.append)
    channel.on_end = ended.append
    channel.write(Stream.STDOUT, b"x" * (INITIAL_WINDOW + 10))
    channel.send_event({"type": "late"})
    channel.finish({})
    assert channel.is_blocked
    assert sum(len(frame.payload) for frame in frames_of(sent)) <= INITIAL_WINDOW
    assert not ended
    channel.grant(1000)
    frames = frames_of(sent)
    assert [frame.type for frame in frames[-2:]] == [FrameType.EVENT, FrameType.CLOSE]
    assert sum(len(frame.payload) - 1 for frame in frames if frame.type is FrameType.DATA) == INITIAL_WINDOW + 10
    assert ended == [channel]


async def test_a_detached_channel_discards_output_and_releases_who_waits():
    channel = LinkChannel(3, {}, lambda _: None)
    sending = asyncio.ensure_future(channel.send(Stream.BODY, b"x" * (INITIAL_WINDOW * 2)))
    await asyncio.sleep(0)
    channel.detach()
    await sending
    channel.write(Stream.BODY, b"x" * (INITIAL_WINDOW * 2))
    assert not channel.is_blocked
    assert await channel.receive() is None


async def test_input_is_granted_again_as_it_is_consumed():
    sent = []
    channel = LinkChannel(3, {}, sent.append)
    for _ in range(4):
        channel.feed(b"\0" + b"y" * (1 << 19))
    channel.end_input()
    total = 0
    while (data := await channel.receive()) is not None:
        total += len(data)
    assert total == 4 << 19
    assert sum(frame.window() for frame in frames_of(sent)) == total + 4


class Rich:
    def _repr_html_(self):
        return "<b>rich</b>"

    def _repr_png_(self):
        return b"\x89PNG"

    def _repr_svg_(self):
        raise RuntimeError("broken")

    def __repr__(self):
        return "Rich()"


def test_a_bundle_has_what_the_value_offers_and_nothing_that_fails():
    assert build_bundle(Rich()) == {"text/html": b"<b>rich</b>", "image/png": b"\x89PNG", "text/plain": b"Rich()"}
    assert build_bundle(Rich) == {"text/plain": repr(Rich).encode()}


class UnprintableError(Exception):
    def __str__(self):
        raise RuntimeError


def test_an_exception_that_cannot_be_printed_is_still_described():
    described = describe_error(UnprintableError())
    assert (described["name"], described["value"]) == ("UnprintableError", "<exception str() failed>")


def test_shell_lines_become_calls_and_other_lines_stay():
    assert rewrite_shell_lines("x = 1\n  !ls -l 'a'\n%pip install y\nx % 2") == (
        "x = 1\n  __sandbox_shell__(\"ls -l 'a'\")\n__sandbox_shell__('pip install y')\nx % 2"
    )


def test_timeouts_and_folders_are_checked_with_the_field_named(tmp_path):
    state = SessionState(tmp_path, {}, RestartFile(tmp_path / "marks.json"))
    assert state.read_timeout(None) == 300
    for value in (0, -1, 301, float("nan"), True, "1"):
        with pytest.raises(OperationError) as caught:
            state.read_timeout(value)
        assert (caught.value.reason, caught.value.field) == ("INVALID_TIMEOUT", "timeout")
    assert state.resolve_cwd("") == tmp_path
    assert state.resolve_cwd(str(tmp_path)) == tmp_path
    with pytest.raises(OperationError) as caught:
        state.resolve_cwd("..")
    assert caught.value.reason == "PATH_OUTSIDE_WORKSPACE"
