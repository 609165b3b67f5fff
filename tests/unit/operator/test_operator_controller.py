"""The controller's queues begin and pause with the leadership."""

import asyncio
from datetime import UTC, datetime

from sandbox_operator.app.assembly import Dependencies
from sandbox_operator.app.controller import Controller
from sandbox_operator.credentials.source import StaticCredentials
from sandbox_operator.kube.resources import POOLS, SESSIONS
from sandbox_operator.metrics import Metrics
from sandbox_operator.session.event_recorder import EventRecorder
from sandbox_operator.watch.handlers import pool_key, session_key
from sandbox_operator.watch.store import Store
from sandbox_testing.api_server import FakeKube
from sandbox_testing.operator_agents import FakeAgents
from tests.unit.operator.conftest import AUTHORITY, NAMESPACE, SETTINGS


async def test_leading_again_right_after_a_loss_works_on_everything():
    kube, store = FakeKube(clock=lambda: datetime.now(UTC)), Store()
    for kind, name in ((SESSIONS, "one"), (POOLS, "pool")):
        store.put(kind, kube.put(kind, NAMESPACE, {"metadata": {"name": name}, "spec": {}}))
    environment = Dependencies(
        kube, FakeAgents(), store, SETTINGS, AUTHORITY, StaticCredentials(SETTINGS), EventRecorder(kube), Metrics()
    )
    controller = Controller(environment)

    def enqueue_all():
        controller.enqueue(session_key(NAMESPACE, "one"))
        controller.enqueue(pool_key(NAMESPACE, "pool"))

    controller.start(enqueue_all)
    controller.pause()
    controller.start(enqueue_all)
    async with asyncio.timeout(10):
        while not all("status" in kube.named(kind)[name] for kind, name in ((SESSIONS, "one"), (POOLS, "pool"))):  # noqa: ASYNC110 - with a deadline
            await asyncio.sleep(0.01)
    await controller.stop(1.0)
    assert kube.named(SESSIONS)["one"]["status"]["conditions"][0]["reason"] == "TemplateNotFound"
    assert kube.named(POOLS)["pool"]["status"]["conditions"][0]["reason"] == "TemplateNotFound"
