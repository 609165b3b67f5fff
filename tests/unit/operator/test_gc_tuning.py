"""Full looks for reference cycles wait for a pause of the sessions, though not for ever."""

import asyncio
import gc

from sandbox_operator.app import gc_tuning


async def test_a_full_look_waits_until_no_session_does(monkeypatch):
    monkeypatch.setattr(gc_tuning, "_INTERVAL", 0.0)
    monkeypatch.setattr(gc_tuning, "_POLL_INTERVAL", 0.0)
    looks, asked, answers = [], [], iter([True, True, False])

    def is_busy():
        asked.append(len(looks))
        return next(answers, True)

    monkeypatch.setattr(gc, "collect", lambda: looks.append(len(asked)))
    task = asyncio.create_task(gc_tuning.collect_when_idle(is_busy))
    for _ in range(50):
        await asyncio.sleep(0)
    task.cancel()
    # Twice busy, then not: one look, and none while it is busy again.
    assert looks == [3]
    assert len(asked) > 4


async def test_sessions_that_never_pause_put_a_full_look_off_for_some_minutes_only(monkeypatch):
    monkeypatch.setattr(gc_tuning, "_INTERVAL", 0.0)
    monkeypatch.setattr(gc_tuning, "_POLL_INTERVAL", 0.0)
    monkeypatch.setattr(gc_tuning, "_MAX_DELAY", 0.0)
    looks = []
    monkeypatch.setattr(gc, "collect", lambda: looks.append(1))
    task = asyncio.create_task(gc_tuning.collect_when_idle(lambda: True))
    for _ in range(10):
        await asyncio.sleep(0)
    task.cancel()
    assert looks


def test_what_is_here_is_spared_for_as_long_as_the_operator_runs():
    usual, frozen = gc.get_threshold(), gc.get_freeze_count()
    with gc_tuning.frozen_startup_objects():
        assert gc.get_freeze_count() > frozen
        # Python itself never takes a full look.
        assert gc.get_threshold()[2] > 100_000
    assert (gc.get_threshold(), gc.get_freeze_count()) == (usual, 0)
