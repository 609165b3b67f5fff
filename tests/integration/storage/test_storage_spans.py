"""Spans of pushes, restores and looks, with the requests to storage below them."""

import pytest

from sandbox_agent.storage.errors import StorageUnavailableError
from sandbox_link.protocol import OperationError
from tests.support.recording import recorded


def below(spans, name):
    """Names of what was done directly below the last span of this name, and that span."""
    whole = next(span for span in reversed(spans) if span.name == name)
    return whole, {span.name for span in spans if span.parent and span.parent.span_id == whole.context.span_id}


REQUESTS = {
    "directory": ("directory put", "directory get", "directory list"),
    "s3": ("S3 put_object", "S3 get_object", "S3 list_objects_v2"),
}


async def test_each_request_to_storage_is_below_what_it_was_made_for(new_sandbox, request):
    put, get, listing = REQUESTS[request.node.callspec.params["new_store"]]
    one, other = new_sandbox(), new_sandbox("pod-b")
    one.write("a-name.txt", b"12345")
    with recorded() as exporter:
        await one.push()
        await other.restore()
        other.workspace.is_fresh()
        await other.workspace.refresh_if_stale()
        spans = exporter.get_finished_spans()
    for name, wanted in (("sandbox.push", put), ("sandbox.restore", get), ("sandbox.look", listing)):
        whole, made = below(spans, name)
        assert wanted in made
        if name != "sandbox.look":
            assert dict(whole.attributes) == {
                "sandbox.generation": 1,
                "sandbox.files": 1,
                "sandbox.bytes": 5,
                "sandbox.failed": 0,
            }
    assert not any("a-name" in span.to_json() for span in spans)


async def test_a_push_that_fails_says_so_by_a_code(new_sandbox, monkeypatch):
    one = new_sandbox()
    one.write("a-name.txt", b"12345")

    async def fail(*_arguments, **_conditions):
        raise StorageUnavailableError("a-name.txt: down")

    monkeypatch.setattr(one.store, "put", fail)
    with recorded() as exporter, pytest.raises(OperationError):
        await one.push()
    (push,) = [span for span in exporter.get_finished_spans() if span.name == "sandbox.push"]
    assert push.attributes == {"error.type": "UNAVAILABLE"}
    assert not push.status.is_ok
    assert "a-name" not in push.to_json()
