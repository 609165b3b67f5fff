"""Commands with much input, and shell lines longer than one argument may be."""

from __future__ import annotations

import asyncio
import hashlib
import random

import pytest

from sandbox_client import AsyncSandbox, FailedPrecondition, InvalidArgument, NotFound, Sandbox
from sandbox_proto.v1 import process_pb2

KERNEL_LIMIT = 128 << 10


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox.local() as sandbox:
        yield sandbox


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 1, (9 << 20) + 5])
def test_input_of_any_size_arrives_whole(sandbox, size):
    content = random.Random(size).randbytes(size)
    result = sandbox.run("sha256sum; echo end", stdin=content)
    assert result.stdout == f"{hashlib.sha256(content).hexdigest()}  -\nend\n"


async def test_input_of_any_size_comes_back_while_it_is_sent():
    content = "0123456789abcde\n" * (5 << 16)
    async with await AsyncSandbox.local() as sandbox:
        result = await sandbox.run(["cat"], stdin=content)
        assert (result.stdout, result.exit_code) == (content, 0)


def test_a_command_that_reads_only_the_beginning_ends_well(sandbox):
    assert sandbox.run("head -c 3", stdin=b"abc" + bytes(8 << 20)).stdout == "abc"
    assert sandbox.run("exit 3", stdin=bytes(8 << 20)).exit_code == 3
    assert sandbox.run("exec <&-; sleep 0.3; echo closed", stdin=bytes(8 << 20)).stdout == "closed\n"


def test_a_command_that_reads_nothing_is_still_ended_by_its_time_limit(sandbox):
    assert sandbox.run("sleep 60", stdin=bytes(8 << 20), timeout=1).status == "timed_out"


async def test_a_cancelled_call_with_much_input_leaves_nothing_behind():
    async with await AsyncSandbox.local() as sandbox:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await sandbox.run("sleep 4711", stdin=bytes(8 << 20))
        assert (await sandbox.run("pgrep -f 'sleep 471[1]'")).exit_code == 1


@pytest.mark.parametrize("size", [KERNEL_LIMIT - 1, KERNEL_LIMIT, KERNEL_LIMIT + 1, 1 << 20, (2 << 20) - 64])
def test_a_shell_line_of_any_size_runs(sandbox, size):
    line = "x='"
    end = "'; echo ${#x} $0 $#; echo $LINENO; ls /dev/fd/3 2>/dev/null; (exit 7)"
    result = sandbox.run(line + "a" * (size - len(line) - len(end)) + end)
    shell = result.stdout.split()[1]
    assert result.stdout == f"{size - len(line) - len(end)} {shell} 0\n1\n"
    assert (result.exit_code, shell.rpartition("/")[2]) == (7, "bash")


def test_a_long_line_has_its_input_its_lines_and_its_other_languages(sandbox):
    line = "#!/bin/bash\n: '" + "ü" * KERNEL_LIMIT + "'\ncat\ncat <<EOF\n$((6 * 7))\nEOF"
    assert sandbox.run(line, stdin="in\n").stdout == "in\n42\n"
    process = sandbox.processes.start(line, stdin="in\n", keep_input=False)
    assert process.wait().stdout == "in\n42\n"


def test_what_is_too_long_is_refused_with_advice(sandbox):
    with pytest.raises(InvalidArgument, match="write it to a file") as caught:
        sandbox.run("x" * ((2 << 20) + 1))
    assert caught.value.field == "command"
    with pytest.raises(InvalidArgument, match="pass them in a file") as caught:
        sandbox.run(["echo", "x" * KERNEL_LIMIT])
    assert caught.value.field == "command"
    with pytest.raises(InvalidArgument, match="send_input") as caught:
        sandbox.processes.start("cat", stdin=bytes((1 << 20) + 1))
    assert caught.value.field == "stdin"


async def test_input_for_a_command_that_is_not_there_is_refused():
    async with await AsyncSandbox.local() as sandbox:
        connection = sandbox.files._connection
        send = connection.process.SendInput

        async def refused(error, **values):
            with pytest.raises(error) as caught:
                await connection.unary(send, process_pb2.SendInputRequest(**values), repeatable=False)
            return caught.value.reason, caught.value.field

        assert await refused(NotFound, request_id="never", data=b"1") == ("UNKNOWN_PROCESS", "request_id")
        await sandbox.run("true", request_id="over")
        assert await refused(FailedPrecondition, request_id="over") == ("PROCESS_ENDED", "request_id")
        both = {"request_id": "over", "process_id": "x"}
        assert await refused(InvalidArgument, **both) == ("INVALID_ARGUMENT", "request_id")
        request = process_pb2.RunRequest(shell="cat", keep_input=True)
        with pytest.raises(InvalidArgument) as caught:
            await anext(connection.stream(connection.process.Run, request))
        assert caught.value.field == "request_id"


def test_an_empty_input_is_accepted(sandbox):
    process = sandbox.processes.start("cat")
    process.send_input(b"")
    process.send_input("x", end=True)
    assert process.wait().stdout == "x"
