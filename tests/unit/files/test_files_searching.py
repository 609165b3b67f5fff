"""`file.search`: names, contents, and what bounds them."""

import contextlib
import os
import time
from pathlib import Path

import pytest

from sandbox_link.protocol import OperationError


@pytest.fixture
def tree(bench):
    for path, content in {
        "src/a.py": b"import os\nTODO = 1\n",
        "src/deep/b.py": "größe = 2  # todo\r\nlast".encode(),
        "src/deep/c.txt": b"TODO\n",
        "node_modules/d.py": b"TODO\n",
        "data.bin": b"TODO\0\1\2",
    }.items():
        target = bench.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return bench


async def find(bench, **arguments):
    result = await bench("file.search", **arguments)
    return result, [match for event in bench.channel.events for match in event["matches"]]


async def names(bench, **arguments):
    return [match["info"]["path"] for match in (await find(bench, **arguments))[1]]


async def lines(bench, **arguments):
    return [(match["path"], match["line"], match["text"]) for match in (await find(bench, **arguments))[1]]


async def expect_invalid(bench, field, **arguments):
    with pytest.raises(OperationError) as caught:
        await bench("file.search", **arguments)
    assert (caught.value.code, caught.value.field) == ("INVALID_ARGUMENT", field)


async def test_names_are_found_by_glob_in_the_order_of_their_paths(tree):
    assert await names(tree, name_pattern="*.py") == ["node_modules/d.py", "src/a.py", "src/deep/b.py"]
    assert await names(tree, name_pattern="src/**/*.py") == ["src/a.py", "src/deep/b.py"]
    assert await names(tree, path="src", name_pattern="deep") == ["src/deep"]
    assert await names(tree, name_pattern="*.py", exclude=["node_modules"]) == ["src/a.py", "src/deep/b.py"]


async def test_lines_are_found_by_regular_expression_text_and_without_regard_to_case(tree):
    assert await lines(tree, content_pattern=r"^TODO( = \d)?$") == [
        ("node_modules/d.py", 1, "TODO"),
        ("src/a.py", 2, "TODO = 1"),
        ("src/deep/c.txt", 1, "TODO"),
    ]
    assert await lines(tree, path="src", content_pattern="todo", ignore_case=True, name_pattern="*.py") == [
        ("src/a.py", 2, "TODO = 1"),
        ("src/deep/b.py", 1, "größe = 2  # todo"),
    ]
    assert await lines(tree, content_pattern="1$", literal=True) == []
    assert await lines(tree, content_pattern="größe", literal=True) == [("src/deep/b.py", 1, "größe = 2  # todo")]
    assert await lines(tree, content_pattern="last$") == [("src/deep/b.py", 2, "last")]


async def test_binary_files_are_skipped_and_counted(tree):
    result, found = await find(tree, content_pattern="TODO", path=".", name_pattern="data.bin")
    assert (result, found) == ({"files": 0, "skipped": 1, "matches": 0, "limit": ""}, [])


@pytest.mark.parametrize("arguments", [{"name_pattern": "*.py"}, {"content_pattern": "TODO"}])
async def test_more_matches_than_asked_for_are_cut_and_that_is_told(tree, arguments):
    result, found = await find(tree, **arguments, max_results=2)
    assert (len(found), result["limit"]) == (2, "results")
    result, found = await find(tree, **arguments, max_results=3)
    assert (len(found), result["limit"]) == (3, "")


async def test_long_files_and_lines_are_searched_in_pieces(bench):
    text = b"".join(b"line %d\n" % number for number in range(300_000))
    (bench.root / "long").write_bytes(text + b"x" * 3_000_000 + b" end\nneedle")
    assert await lines(bench, content_pattern="^line 29999[89]$|^needle$") == [
        ("long", 299_999, "line 299998"),
        ("long", 300_000, "line 299999"),
        ("long", 300_002, "needle"),
    ]
    assert [len(text) for _, _, text in await lines(bench, content_pattern="^xxx")] == [500]


async def test_no_symlink_is_followed_and_no_fifo_opened(bench):
    (bench.root / "out").symlink_to("../outside")
    (bench.root / "secret").symlink_to("../outside/secret")
    os.mkfifo(bench.root / "fifo")
    assert await lines(bench, content_pattern="secret") == []
    assert await names(bench, name_pattern="secret") == ["secret"]
    with pytest.raises(OperationError) as caught:
        await bench("file.search", path="out", content_pattern="secret")
    assert caught.value.reason == "PATH_OUTSIDE_WORKSPACE"


async def test_a_pattern_that_never_ends_is_killed_at_the_deadline(bench):
    (bench.root / "bomb").write_bytes(b"a" * 64 + b"!\n")
    started = time.monotonic()
    result, found = await find(bench, content_pattern="(a|a)*$", timeout_ms=300)
    assert (found, result["limit"]) == ([], "deadline")
    assert time.monotonic() - started < 5
    assert not [line for line in _command_lines() if b"grep_process" in line]


def _command_lines():
    """Of this process's children."""
    children = [task.read_text().split() for task in Path("/proc/self/task").glob("*/children")]
    for pid in (pid for pids in children for pid in pids):
        with contextlib.suppress(OSError):
            yield Path(f"/proc/{pid}/cmdline").read_bytes()


async def test_wrong_arguments_are_named(bench):
    await expect_invalid(bench, "content_pattern", content_pattern="(")
    await expect_invalid(bench, "content_pattern", content_pattern="a\nb")
    await expect_invalid(bench, "name_pattern", name_pattern="/")
    await expect_invalid(bench, "max_results", max_results=10_001)
    with pytest.raises(OperationError) as caught:
        await bench("file.search", path="missing")
    assert caught.value.code == "NOT_FOUND"
