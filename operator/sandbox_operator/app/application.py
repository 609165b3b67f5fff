"""One replica of the operator: builds all its parts, starts them in order, and stops them in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
import time
from typing import TYPE_CHECKING, Any, Final

import kopf

from sandbox_operator.agent.client import AgentClient
from sandbox_operator.app import gc_tuning
from sandbox_operator.app.assembly import Dependencies
from sandbox_operator.app.controller import Controller
from sandbox_operator.app.health import serve_health
from sandbox_operator.credentials.source import StaticCredentials
from sandbox_operator.credentials.sts import StsCredentials
from sandbox_operator.errors import UnavailableError
from sandbox_operator.kube.client import KubeClient
from sandbox_operator.kube.connection import load_connection
from sandbox_operator.kube.lease import LeaderLease
from sandbox_operator.kube.resources import POOLS, SESSIONS
from sandbox_operator.kube.write_hook import WriteHook
from sandbox_operator.metrics import Metrics
from sandbox_operator.pki.ca_secret import CASecret
from sandbox_operator.pki.origin import Origins
from sandbox_operator.session.event_recorder import EventRecorder
from sandbox_operator.watch.handlers import (
    Handlers,
    pool_key,
    register,
    session_key,
)
from sandbox_operator.watch.kopf_workarounds import EmptyLists, build_kopf_settings, memory_options
from sandbox_operator.watch.relist import Relister
from sandbox_operator.watch.store import POD_SELECTOR, WATCHED, Store, name_of
from sandbox_proto import tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from sandbox_operator.credentials.source import CredentialSource
    from sandbox_operator.kube.connection import Connection
    from sandbox_operator.settings import Settings

_LOG: Final = logging.getLogger(__name__)
_WATCH_CONNECTIONS: Final = 20
_STOP_GRACE: Final = 3.0
"""Seconds that running work gets to finish when the process stops."""
_FIRST_LIST_TIMEOUT: Final = 120.0
"""Seconds within which every kind must be watched and listed once. Kopf discovers kinds only when it starts, so only a
new process sees a CustomResourceDefinition that was installed later."""


class Application:
    """One replica of the operator."""

    def __init__(self, settings: Settings, environment: dict[str, str]) -> None:
        self._settings = settings
        self._connection: Connection = load_connection(environment)
        self._write_hook = WriteHook.from_environment(environment)
        self._metrics, self._store = Metrics(), Store()
        self._stop = asyncio.Event()
        self._api = KubeClient(self._connection, self._write_hook, self._may_write, self._metrics.record_call)
        identity = settings.pod_name or f"{socket.gethostname()}-{secrets.token_hex(4)}"
        self._lease = LeaderLease(self._api, settings.namespace, settings.lease, identity, self._on_leading)
        self._controller: Controller | None = None
        self._is_working = False
        self._handlers = Handlers(self._store, self._enqueue, self._metrics, settings.default_template)
        self._namespaces: tuple[str | None, ...] = settings.watch_namespaces or (None,)
        self._relister = Relister(
            self._api, self._store, self._namespaces, POD_SELECTOR, settings.resync_seconds, self._handlers.enqueue_for
        )

    async def run(self) -> int:
        """Run until a signal arrives and return 0, or until kopf or another part stops by itself and return 1."""
        settings = self._settings
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self._api)
            await stack.enter_async_context(
                serve_health(
                    settings.health_port,
                    settings.metrics_port,
                    self._relister.find_problem,
                    self._metrics,
                    self._refresh_metrics,
                )
            )
            ca_secret = CASecret(self._api, settings.namespace, settings.ca_secret, self._may_write)
            authority = await ca_secret.load()
            self._store.is_own_pod = Origins(authority).is_own_pod
            agents = AgentClient(authority, self._write_hook, self._may_write)
            stack.push_async_callback(agents.close)
            recorder = EventRecorder(self._api)
            self._controller = Controller(
                Dependencies(
                    self._api,
                    agents,
                    self._store,
                    settings,
                    authority,
                    await self._open_credentials(stack),
                    recorder,
                    self._metrics,
                )
            )
            return await self._run_tasks(recorder, lambda: ca_secret.run(authority))

    async def _open_credentials(self, stack: contextlib.AsyncExitStack) -> CredentialSource:
        own = StaticCredentials(self._settings)
        if self._settings.storage_credentials == "static":
            return own
        source = StsCredentials(self._settings, own, self._metrics.record_assume_role)
        stack.push_async_callback(source.close)
        await source.load()
        return source

    async def _run_tasks(self, recorder: EventRecorder, keep_authority: Callable[[], Coroutine[Any, Any, None]]) -> int:
        ours = [
            asyncio.create_task(self._lead(), name="lease"),
            asyncio.create_task(recorder.run(), name="events"),
            asyncio.create_task(self._relister.run(), name="relist"),
            asyncio.create_task(keep_authority(), name="ca"),
            asyncio.create_task(self._collect_garbage(), name="gc"),
        ]
        kopf_stop = asyncio.Event()
        watching = asyncio.create_task(self._run_kopf(kopf_stop), name="kopf")
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        done, _ = await asyncio.wait({watching, stopping, *ours}, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {stopping}:
            _LOG.error("stopping, because the task %s ended: %r", task.get_name(), task.exception())
        code = 0 if self._stop.is_set() else 1
        await self._shut_down(ours, watching, kopf_stop)
        stopping.cancel()
        return code

    async def _lead(self) -> None:
        """Compete for the lease once everything has been listed, because a leader must know all objects.

        Raises:
            UnavailableError: The first list did not finish in time.
        """
        try:
            async with asyncio.timeout(_FIRST_LIST_TIMEOUT):
                await self._relister.synced.wait()
        except TimeoutError:
            raise UnavailableError(0, "NotListed", self._relister.find_problem()) from None
        await self._lease.run()

    async def _collect_garbage(self) -> None:
        await self._relister.synced.wait()
        with gc_tuning.frozen_startup_objects():
            await gc_tuning.collect_when_idle(self._is_busy)

    async def _shut_down(self, ours: list[asyncio.Task[None]], watching: asyncio.Task[None], kopf_stop: Any) -> None:
        """Finish running work, release the lease so that another replica takes over at once, then stop the rest."""
        lease, *_ = ours
        if self._controller is not None:
            await self._controller.stop(_STOP_GRACE)
        lease.cancel()
        await asyncio.gather(lease, return_exceptions=True)
        await self._lease.release()
        kopf_stop.set()
        await asyncio.wait({watching}, timeout=8)
        for task in (*ours, watching):
            task.cancel()
        await asyncio.gather(*ours, watching, return_exceptions=True)

    async def _run_kopf(self, stop: asyncio.Event) -> None:
        registry = kopf.OperatorRegistry()
        register(registry, self._handlers)
        kopf.on.login(registry=registry, id="login")(self._log_in)
        namespaces = list(self._settings.watch_namespaces)
        before = asyncio.all_tasks()
        tasks = await kopf.spawn_tasks(
            registry=registry,
            settings=build_kopf_settings(),
            standalone=True,
            clusterwide=not namespaces,
            namespaces=namespaces,
            stop_flag=stop,
            **memory_options(),
        )
        loop = asyncio.get_running_loop()
        # After kopf, which installs handlers of its own: the lease must be released before the watches end.
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        await kopf.run_tasks(tasks, ignored=before)

    async def _log_in(self, **_: Any) -> kopf.AiohttpSession:
        lists = EmptyLists(WATCHED, self._namespaces, self._relister.note_watch)
        session = self._connection.open_session(_WATCH_CONNECTIONS, total=None, middlewares=(lists,))
        session.headers.update(self._connection.headers())
        return kopf.AiohttpSession(server=self._connection.server, aiohttp_session=session)

    def _enqueue_all(self) -> None:
        for raw in self._store.all(POOLS):
            self._enqueue(pool_key(*name_of(raw)))
        for raw in self._store.all(SESSIONS):
            self._enqueue(session_key(*name_of(raw)))

    def _enqueue(self, key: tuple[str, str, str]) -> None:
        # Accept keys even while a late renewal of the lease blocks writes: a key that is dropped now would be lost.
        if self._controller is not None and self._is_working:
            self._controller.enqueue(key)

    def _may_write(self) -> bool:
        # The CA is created before the first election, which is safe even if two replicas do so at once.
        return self._controller is None or self._lease.is_leading

    def _on_leading(self, leading: bool) -> None:  # noqa: FBT001 - a callback's only argument
        self._metrics.is_leader.set(leading)
        if self._controller is None:
            return
        self._is_working = leading
        if leading:
            self._controller.start(self._enqueue_all)
        else:
            self._controller.pause()

    def _is_busy(self) -> bool:
        return self._controller is not None and self._controller.is_busy

    def _refresh_metrics(self) -> None:
        phases = {
            raw["metadata"]["uid"]: (raw.get("status") or {}).get("phase", "Pending")
            for raw in self._store.all(SESSIONS)
        }
        self._metrics.show_sessions(phases, time.monotonic())
        if self._controller is not None:
            self._controller.refresh_metrics()


async def run(settings: Settings) -> int:
    """Run one replica and return its exit code."""
    environment = dict(os.environ)
    if settings.tracing_endpoint:
        os.environ.update(settings.tracing_environment)
        try:
            tracing.start("sandbox-operator")
        except tracing.TracingError as error:
            # Sessions matter more than their traces.
            _LOG.error("tracing is off, no spans are sent: %s", error)
    try:
        return await Application(settings, environment).run()
    finally:
        await asyncio.to_thread(tracing.stop)
