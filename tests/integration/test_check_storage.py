"""CheckStorage, answered by a whole agent."""

from sandbox_client import AsyncSandbox
from sandbox_proto.v1.workspace_pb2 import CheckStorageRequest


async def check(sandbox: AsyncSandbox):
    method = sandbox._connection.workspace.CheckStorage
    return await sandbox._connection.unary(method, CheckStorageRequest(), repeatable=True)


async def test_a_store_is_tried_and_left_as_it_was(tmp_path):
    async with await AsyncSandbox.local(store=tmp_path) as sandbox:
        answer = await check(sandbox)
        assert [each.operation for each in answer.checks] == [
            "put", "get", "list", "copy", "conditional put", "delete",
        ]  # fmt: skip
        assert not any(each.problem for each in answer.checks)
        # The store's own lock file is no object, nor is the session's.
        assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [".lock", "default"]
