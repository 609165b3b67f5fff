"""Kopf's work-arounds fit the installed kopf, and the operator also works with a kopf that they do not fit."""

import inspect

import kopf

from sandbox_operator.watch import kopf_workarounds
from sandbox_operator.watch.kopf_workarounds import build_kopf_settings, memory_options
from tests.support.running_operator import RunningOperator


def test_the_installed_kopf_still_has_the_private_names_that_save_memory():
    advice = (
        "see kopf_workarounds.py: this kopf no longer has {}. The operator works without it, but needs 1.5 KiB more "
        "per object. Adapt memory_options, or delete it if kopf no longer remembers every object."
    )
    memories = kopf_workarounds.ResourceMemories
    assert memories is not None, advice.format("kopf._core.reactor.inventory.ResourceMemories")
    assert "ephemeral" in inspect.signature(memories.recall).parameters, advice.format(
        "ResourceMemories.recall(ephemeral=)"
    )
    assert "memories" in inspect.signature(kopf.spawn_tasks).parameters, advice.format("kopf.spawn_tasks(memories=)")


async def test_kopf_keeps_nothing_of_an_object_between_its_events():
    memories = memory_options()["memories"]
    first = await memories.recall({"metadata": {"uid": "u"}}, noticed_by_listing=True)
    assert first.noticed_by_listing
    assert await memories.recall({"metadata": {"uid": "u"}}) is not first
    assert list(memories.iter_all_memories()) == []
    await memories.forget({"metadata": {"uid": "u"}})


class OtherMemories:
    """Memories of a later kopf, which may have another shape."""

    async def recall(self, raw_body):
        return raw_body


def test_a_kopf_without_the_private_names_uses_its_own_memories_and_one_warning_says_so(monkeypatch, caplog):
    for changed in (None, OtherMemories):
        caplog.clear()
        monkeypatch.setattr(kopf_workarounds, "ResourceMemories", changed)
        assert memory_options() == {}
        (record,) = caplog.records
        assert record.levelname == "WARNING"
        assert "kopf" in record.getMessage()


async def test_the_operator_also_works_with_kopfs_own_memories(tmp_path, monkeypatch):
    monkeypatch.setattr(kopf_workarounds, "ResourceMemories", None)
    operator = RunningOperator(tmp_path)
    operator.add_session("one")
    async with operator.running(monkeypatch):
        await operator.until(lambda: operator.phase("one") == "Ready")


def test_kopf_compares_no_object_with_a_former_one():
    storage = build_kopf_settings().persistence.diffbase_storage
    body = {"metadata": {"annotations": {"kopf.zalando.org/last-handled-configuration": "{}"}}, "spec": {"a": 1}}
    assert storage.fetch(body=body) is None
    assert storage.build(body=body, extra_fields=()) == {}
