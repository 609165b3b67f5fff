"""Names, durations, records and locks of local sessions, without any process of a session."""

import asyncio
import dataclasses
import fcntl
import os
import stat

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from sandbox_client import Conflict, FailedPrecondition, InvalidArgument, NotFound, SandboxUnavailable, SessionFailed
from sandbox_client.cli import main
from sandbox_client.local.address import check_local_name, local_name
from sandbox_client.local.durations import seconds_of
from sandbox_client.local.named import operations, state_files
from sandbox_client.local.named.keeper_calls import call_keeper, error_of
from sandbox_client.local.named.record import Phase, Record, Run, load_record, save_record
from sandbox_client.local.named.registry import CHANGE_LOCK, KEEPER_LOCK, Registry
from sandbox_client.local.named.reports import describe, describe_failure, list_records, read_logs
from sandbox_client.local.named.state_files import remove_tree, write_private
from sandbox_client.local.named.strays import remove_run_folder

RECORD = Record("demo", "uid-1", 0.0, "/w", "/s", {"env": None}, 60.0, 3600.0, "suspend")
RUN = Run("/run", "127.0.0.1:1", "secret", "name", "pem", 0.0, 10.0)


@pytest.fixture
def registry(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return Registry()


@pytest.fixture
def folder(registry):
    folder = registry.add("demo")
    save_record(folder, RECORD)
    return folder


def hold(path):
    """Lock a file as a living process does, until the descriptor is closed."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


@pytest.mark.parametrize("name", ["demo", "a", "a-1", "0", "x" * 63])
def test_a_name_is_local_only_with_its_prefix(name):
    assert local_name(f"local/{name}") == check_local_name(name) == check_local_name(f"local/{name}") == name
    assert local_name(name) is None


@pytest.mark.parametrize("name", ["", "A", "-a", "a-", "a_b", "a.b", "../a", "a/b", "x" * 64, "a\n", "ä", ".deleted-a"])
def test_a_name_that_a_cluster_would_refuse_is_refused(name):
    with pytest.raises(InvalidArgument) as caught:
        local_name(f"local/{name}")
    assert caught.value.field == "name"


@pytest.mark.parametrize("address", [None, "", "local", "Local/x", 5])
def test_other_values_are_not_local(address):
    assert local_name(address) is None


@pytest.mark.parametrize(("given_", "seconds"), [(1, 1), ("90s", 90), ("15m", 900), ("1h30m", 5400), ("1500ms", 1.5)])
def test_a_duration_is_seconds_or_text(given_, seconds):
    assert seconds_of(given_, "lifetime") == seconds


@pytest.mark.parametrize("given_", [0, -1, float("nan"), float("inf"), "", "-1s", "29d", "1 h", "999h", "0.5s", "1sx"])
def test_a_wrong_duration_names_its_field(given_):
    with pytest.raises(InvalidArgument) as caught:
        seconds_of(given_, "lifetime")
    assert caught.value.field == "lifetime"


def test_the_phase_is_the_recorded_one_only_while_the_keeper_lives(registry, folder):
    save_record(folder, dataclasses.replace(RECORD, phase=Phase.READY))
    keeper = hold(folder / KEEPER_LOCK)
    assert registry.read("demo").phase is Phase.READY
    os.close(keeper)
    failed = registry.read("demo")
    assert (failed.phase, "killed" in failed.problem) == (Phase.FAILED, True)
    assert "sandbox logs local/demo" in describe_failure(failed)
    change = hold(folder / CHANGE_LOCK)
    assert registry.read("demo").phase is Phase.PENDING
    os.close(change)
    save_record(folder, dataclasses.replace(RECORD, phase=Phase.SUSPENDED))
    assert registry.read("demo").phase is Phase.SUSPENDED


def test_a_name_is_given_once(registry, folder):
    with pytest.raises(Conflict, match="sandbox delete local/demo"):
        registry.add("demo")
    assert registry.names() == ["demo"]
    (registry.root / ".deleted-other-1" / "left").mkdir(parents=True)
    registry.remove("demo")
    assert registry.names() == []
    assert list(registry.root.iterdir()) == []
    registry.add("demo")


def test_only_one_program_changes_a_session(registry, folder):
    with (
        registry.changing("demo"),
        pytest.raises(FailedPrecondition, match="another command"),
        registry.changing("demo"),
    ):
        pass
    with registry.changing("demo"):
        pass


def test_a_lock_on_a_session_that_was_replaced_is_not_used(registry, folder, monkeypatch):
    real_lock = state_files.lock

    def replace_first(descriptor, seconds):
        registry.remove("demo")
        registry.add("demo")
        return real_lock(descriptor, seconds)

    monkeypatch.setattr("sandbox_client.local.named.registry.lock", replace_first)
    with pytest.raises(NotFound), registry.changing("demo"):
        pass


def test_a_session_that_does_not_exist_is_not_created_by_looking_at_it(registry):
    for look in (registry.read, lambda name: registry.changing(name).__enter__(), lambda name: read_logs(name, 5)):
        with pytest.raises(NotFound, match="sandbox list --local"):
            look("demo")
    assert (registry.names(), list_records()) == ([], [])
    assert not registry.root.exists()


def test_a_folder_without_a_record_is_an_interrupted_creation(registry):
    registry.add("demo")
    with pytest.raises(SessionFailed, match="interrupted"):
        registry.read("demo")
    assert list_records()[0].phase is Phase.FAILED


def test_a_root_that_others_can_read_is_closed(registry):
    registry.root.mkdir(parents=True, mode=0o755)
    registry.root.chmod(0o755)
    registry.add("demo")
    assert stat.S_IMODE(registry.root.stat().st_mode) == 0o700


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"version": 1}', '{"version": 2, "name": "x"}', "5"])
def test_a_record_that_cannot_be_read_says_how_to_remove_it(folder, text):
    (folder / "session.json").write_text(text)
    with pytest.raises(SessionFailed, match="sandbox delete local/demo"):
        load_record(folder)


def test_a_record_comes_back_and_keeps_its_secret_out_of_descriptions(folder):
    record = dataclasses.replace(RECORD, run=RUN, phase=Phase.READY)
    save_record(folder, record)
    assert load_record(folder) == record
    assert "secret" not in repr(record)
    assert "secret" not in str(describe(record))
    assert stat.S_IMODE((folder / "session.json").stat().st_mode) == 0o600


def test_a_full_disk_leaves_the_previous_content(tmp_path, monkeypatch):
    write_private(tmp_path / "file", b"before")

    class Full:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def write(self, _content):
            raise OSError(28, "No space left on device")

    def open_full(descriptor, _mode):
        os.close(descriptor)
        return Full()

    monkeypatch.setattr(os, "fdopen", open_full)
    with pytest.raises(OSError, match=r"No space.*/file"):
        write_private(tmp_path / "file", b"after")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"before"


def test_folders_that_are_read_only_are_removed_and_links_are_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o755)
    (outside / "kept").write_text("")
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "b" / "file").write_text("")
    (tree / "a" / "link").symlink_to(outside)
    for path in (tree / "a" / "b", tree / "a", tree):
        path.chmod(0o500)
    remove_tree(tree)
    assert not tree.exists()
    assert (outside / "kept").exists()
    assert stat.S_IMODE(outside.stat().st_mode) == 0o755


def test_only_a_folder_of_a_run_is_removed(tmp_path):
    mine = tmp_path / "mine"
    (mine / "tls").mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to(mine)
    other = tmp_path / "other"
    other.mkdir()
    for path in (link, other, tmp_path / "missing"):
        remove_run_folder(dataclasses.replace(RUN, folder=str(path)))
    assert (mine / "tls").exists()
    assert other.exists()
    remove_run_folder(dataclasses.replace(RUN, folder=str(mine)))
    assert not mine.exists()


async def test_a_keeper_that_does_not_answer_is_unavailable(tmp_path):
    record = dataclasses.replace(RECORD, run=dataclasses.replace(RUN, folder=str(tmp_path)))
    with pytest.raises(SandboxUnavailable, match="local/demo"):
        await call_keeper(record, "suspend", seconds=1)

    async def leave(reader, writer):
        await reader.readline()
        writer.close()

    async with await asyncio.start_unix_server(leave, tmp_path / "keeper.sock"):
        with pytest.raises(SandboxUnavailable, match="has ended"):
            await call_keeper(record, "suspend", seconds=5)


async def test_a_keepers_error_arrives_as_it_is(tmp_path):
    async def answer(reader, writer):
        await reader.readline()
        writer.write(b'{"error": "no", "type": "Conflict", "reason": "R"}\n')
        writer.close()

    record = dataclasses.replace(RECORD, run=dataclasses.replace(RUN, folder=str(tmp_path)))
    async with await asyncio.start_unix_server(answer, tmp_path / "keeper.sock"):
        with pytest.raises(Conflict, match="no") as caught:
            await call_keeper(record, "suspend", seconds=5)
    assert caught.value.reason == "R"


@given(st.sampled_from(["SandboxError", "NotFound", "Unknown", "os"]), st.text())
def test_any_described_error_becomes_an_error(type_, text):
    assert error_of({"error": text, "type": type_}).message == text


async def test_a_session_that_another_command_changes_for_too_long_is_an_error(registry, folder, monkeypatch):
    monkeypatch.setattr(operations, "_CHANGE_TIMEOUT", 0.2)
    change = hold(folder / CHANGE_LOCK)
    with pytest.raises(FailedPrecondition, match="Try again"):
        await operations.suspend("demo")
    with pytest.raises(SessionFailed, match=r"for 0\.2 s"):
        await operations.find_ready("demo", timeout=0.2)
    os.close(change)


def test_without_any_session_the_list_is_empty_and_the_help_of_both_creates_differs(registry):
    listed = CliRunner().invoke(main, ["list", "--local", "--output", "json"])
    assert (listed.exit_code, listed.stdout) == (0, "[]\n")
    cluster = CliRunner().invoke(main, ["create", "--help"]).stdout
    local = CliRunner().invoke(main, ["create", "--local", "--help"]).stdout
    assert ("--template" in cluster, "--template" in local) == (True, False)
    assert ("--idle-timeout" in local, "--local" in cluster) == (True, True)


@pytest.mark.parametrize(
    "words",
    [
        ["create", "--local"],
        ["create", "--local", "Demo"],
        ["create", "--local", "demo", "--template", "x"],
        ["create", "local/demo", "-n", "prod"],
        ["create", "--local", "demo", "--env", "x"],
        ["create", "--local", "demo", "--lifetime", "soon"],
        ["endpoint", "local/demo", "--forward"],
        ["endpoint", "local/demo", "--export", "--output", "json"],
        ["endpoint", "demo", "--forward", "--direct"],
        ["run", "--session", "local/Demo", "-c", "1"],
    ],
)
def test_a_wrong_command_line_exits_with_2_and_creates_nothing(registry, words):
    assert CliRunner().invoke(main, words).exit_code == 2
    assert registry.names() == []
