"""Row 34 of docs/faults.md: an agent that is killed in the middle of a restore, and the one that comes after it."""

import asyncio
import contextlib

from sandbox_proto.v1 import session_pb2
from tests.support.two_processes import Pod

COUNT = 400


async def test_fault_34_after_a_kill_in_the_middle_of_a_restore_nothing_counts_as_deleted_by_the_user(tmp_path):
    """Files that an interrupted restore had not fetched never count as deleted by the user."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(name):
            pod = Pod(tmp_path / name, tmp_path / "store")
            stack.push_async_callback(pod.close)
            await pod.begin()
            return pod

        first = await start("first")
        async with first.connect() as sandbox:
            made = await sandbox.run(f"for i in $(seq {COUNT}); do echo $i > $i.txt; done")
            assert made.ok
            await sandbox.workspace.push()

        second = await start("second")
        async with asyncio.timeout(20):
            while not there(second):  # noqa: ASYNC110 - another process writes them
                await asyncio.sleep(0)
        await second.kill("agent")
        assert 0 < there(second) < COUNT, "it was killed in the middle"

        await second.start_agent()
        await second.bind()
        async with second.connect() as sandbox:
            assert (await sandbox.run("ls | wc -l")).stdout.strip() == str(COUNT), "nothing is let in before"
            await sandbox.files.remove("7.txt")
            await sandbox.workspace.push()
        await second.call("Drain", session_pb2.DrainRequest(session_uid="uid"))

        third = await start("third")
        async with third.connect() as sandbox:
            names = set((await sandbox.run("ls")).stdout.split())
        assert names == {f"{number}.txt" for number in range(1, COUNT + 1)} - {"7.txt"}


def there(pod):
    """How many files the restore has brought."""
    return sum(1 for _ in (pod.folder / "workspace").glob("*.txt"))
