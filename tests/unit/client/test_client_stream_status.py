"""An upload that is refused while it is still being sent: the caller gets the agent's own error."""

import grpc
import pytest

import sandbox_client.transport.stream_status
from sandbox_client.errors import ResourceExhausted
from sandbox_client.transport.stream_status import PreserveServerStatus

LOST = (grpc.StatusCode.INTERNAL, "Internal error from Core")
REFUSED = (grpc.StatusCode.RESOURCE_EXHAUSTED, "the disk is full")


class Call:
    """A call of grpc.aio that gets one status after the other; awaiting it ends with the second last of them."""

    def __init__(self, *statuses):
        self.statuses = list(statuses)
        self.status = None
        self.callbacks = []

    def add_done_callback(self, callback):
        self.callbacks.append(callback)

    def set_status(self, status):
        self.status = status
        for callback in self.callbacks:
            callback(self)

    async def code(self):
        return self.status[0]

    async def details(self):
        return self.status[1]

    async def trailing_metadata(self):
        return grpc.aio.Metadata()

    def __await__(self):
        for status in self.statuses:
            self.set_status(status)
        code, details = LOST if LOST in self.statuses else self.status
        raise grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details=details)
        yield


class Method:
    _method = b"/s/M"

    def __init__(self, *statuses):
        self.call = Call(*statuses)

    def __call__(self, _request, **_options):
        return self.call


@pytest.mark.parametrize(
    ("statuses", "told"),
    [((REFUSED, LOST), REFUSED), ((LOST, REFUSED), REFUSED), ((REFUSED,), REFUSED), ((LOST,), LOST)],
    ids=["replaced", "told later", "as it should be", "never told"],
)
async def test_the_agents_status_is_told_whenever_it_comes(statuses, told, monkeypatch):
    monkeypatch.setattr(sandbox_client.transport.stream_status, "_AGENT_STATUS_TIMEOUT", 0.05)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await PreserveServerStatus(Method(*statuses))(None)
    assert (caught.value.code(), caught.value.details()) == told


async def test_an_upload_that_is_refused_while_it_is_sent_says_why(agent, sandbox):
    agent.refuse("Write", grpc.StatusCode.RESOURCE_EXHAUSTED, "DISK_FULL", times=30)
    content = bytes(8 << 20)
    for _ in range(30):
        with pytest.raises(ResourceExhausted) as caught:
            await sandbox.files.write("large", content)
        assert caught.value.reason == "DISK_FULL"
