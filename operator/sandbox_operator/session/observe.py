"""Reads for one session: the store, and its agent. Never writes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from sandbox_operator.agent.client import AgentAddress
from sandbox_operator.api import naming
from sandbox_operator.api.models import Session, parse
from sandbox_operator.errors import AgentError, SpecError
from sandbox_operator.kube.resources import PODS, SESSIONS
from sandbox_operator.manifests.ownership import controller_uid
from sandbox_operator.session.model import Observation
from sandbox_operator.session.pod_state import view_pod

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_operator.agent.cached_view import AgentNews
    from sandbox_operator.agent.client import Agents, AgentView
    from sandbox_operator.app.settings import Settings
    from sandbox_operator.pool.available_pods import AvailablePods
    from sandbox_operator.session.background_calls import Drains
    from sandbox_operator.session.model import PodView
    from sandbox_operator.session.renewals import Renewals
    from sandbox_operator.session.template_cache import FoundTemplate, Templates
    from sandbox_operator.watch.store import Store
    from sandbox_operator.watch.work_queue import Key

_RESTORE_WAIT = 2.0


class Observer:
    """Makes observations; remembers only when starts and binds began, and which agents were asked."""

    def __init__(
        self,
        store: Store,
        agents: Agents,
        drains: Drains,
        renewals: Renewals,
        settings: Settings,
        templates: Templates,
        available_pods: AvailablePods,
        news: AgentNews,
    ) -> None:
        self._store, self._agents, self._drains, self._settings = store, agents, drains, settings
        self._renewals = renewals
        self._templates, self._available_pods, self._news = templates, available_pods, news
        self._starts: dict[Key, float] = {}
        self._binds: dict[Key, float] = {}
        self._addresses: dict[Key, AgentAddress] = {}

    async def observe(self, key: Key, session: Session) -> Observation:
        """All that the session's plan depends on."""
        name = session.spec.template_ref.name or self._settings.default_template
        found = self._templates.find(session.metadata.namespace, name)
        pods = self._find_pods(session)
        pod = pods[0] if pods else None
        address = address_of(session.metadata.namespace, pod) if pod else None
        await self._remember(key, address)
        agent, agent_problem = await self._ask(key, address)
        now = time.monotonic()
        return Observation(
            session=session,
            template=found.template,
            template_problem=found.problem,
            pod=pod,
            extra_pods=tuple(each for each in pods[1:] if not each.deleted),
            warm_pods=self._count_warm(key, session, found) if pod is None else 0,
            pod_hash=found.pod_hash,
            is_pod_foreign=pod is None and self._is_name_foreign(session),
            address=address,
            agent=agent,
            agent_problem=agent_problem,
            drain=self._drains.get(key),
            has_storage=bool(self._settings.storage_bucket),
            renewal=self._renewals.get(key, pod.uid) if pod else None,
            workspace_holder=self._find_holder(session) if pod is None else "",
            had_pod=session.status.get("phase") in {"Ready", "Starting"} and bool(session.status.get("endpoint")),
            seconds_since_bind=now - self._binds[key] if key in self._binds else None,
            start_seconds=now - self._starts[key] if key in self._starts else None,
        )

    def note_start(self, key: Key) -> None:
        """A session begins to start now, if it had not."""
        self._starts.setdefault(key, time.monotonic())

    def note_bind(self, key: Key) -> None:
        """Bind is called now."""
        self._binds[key] = time.monotonic()

    def note_ready(self, key: Key) -> None:
        """The start is over."""
        self._starts.pop(key, None)

    async def release(self, key: Key) -> None:
        """The session is gone: so is its agent."""
        self.forget(key)
        self._available_pods.cancel_reservation(key)
        await self._remember(key, None)

    def forget(self, key: Key) -> None:
        """The session has no pod any more."""
        self._starts.pop(key, None)
        self._binds.pop(key, None)

    def _find_pods(self, session: Session) -> list[PodView]:
        """The session's pods, the one that serves it first. More than one: a former leader's claim came late."""
        metadata = session.metadata
        pods = [view_pod(raw) for raw in self._store.pods_of(metadata.namespace, metadata.uid)]
        served_by = session.status.get("podName")
        return sorted(pods, key=lambda pod: (pod.deleted is not None, pod.name != served_by, pod.created, pod.name))

    def _is_name_foreign(self, session: Session) -> bool:
        """Whether another owner's pod has the name that a pod of the session's own would get."""
        raw = self._store.get(PODS, (session.metadata.namespace, naming.pod_name(session)))
        return raw is not None and controller_uid(raw) != session.metadata.uid

    def _count_warm(self, key: Key, session: Session, found: FoundTemplate) -> int:
        if found.template is None:
            return 0
        kind = (session.metadata.namespace, found.template.metadata.name, found.pod_hash)
        return self._available_pods.count(key, kind)

    async def _remember(self, key: Key, address: AgentAddress | None) -> None:
        """Keep the connection to one agent a session; one that it had before is closed."""
        old = self._addresses.pop(key, None)
        if old is not None and old != address:
            await self._agents.forget(old)
        if address is not None:
            self._addresses[key] = address

    async def _ask(self, key: Key, address: AgentAddress | None) -> tuple[AgentView | None, str]:
        if address is None:
            return None, ""
        try:
            agent = self._news.take(key, address.server_name) or await self._agents.describe(address)
            if agent.state == "BOUND" and agent.restore == "RUNNING":
                agent = await self._agents.describe(address, wait=_RESTORE_WAIT)
        except AgentError as error:
            return None, error.reason
        return agent, ""

    def _find_holder(self, session: Session) -> str:
        """Another session that has this one's workspace: one with a pod, else an older one that wants a pod too."""
        me = session.metadata
        mine = (me.creation_timestamp.timestamp(), me.uid)
        for raw in self._store.claimants(me.namespace, session.workspace_name):
            other = raw["metadata"]
            if other.get("uid") == me.uid:
                continue
            if self._store.pods_of(me.namespace, other["uid"]):
                return str(other["name"])
            if _wants_pod(raw) and _age(raw) < mine:
                return str(other["name"])
        return ""


def address_of(namespace: str, pod: PodView) -> AgentAddress | None:
    """Where a pod's agent is called; None: it does not run."""
    if pod.deleted or pod.has_ended or not pod.ip or not pod.is_agent_running:
        return None
    host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
    return AgentAddress(f"{host}:{naming.CONTROL_PORT}", naming.server_name(pod.name, namespace))


def _wants_pod(raw: Mapping[str, Any]) -> bool:
    is_over = raw["metadata"].get("deletionTimestamp") or (raw.get("status") or {}).get("phase") == "Failed"
    return not is_over and not (raw.get("spec") or {}).get("suspended")


def _age(raw: Mapping[str, Any]) -> tuple[float, str]:
    try:
        metadata = parse(Session, {"metadata": raw["metadata"]}).metadata
    except SpecError:
        return float("inf"), ""
    return metadata.creation_timestamp.timestamp(), metadata.uid


def find_session(store: Store, key: Key) -> Mapping[str, Any] | None:
    """The raw session of a key, or None where it is gone."""
    return store.get(SESSIONS, (key[1], key[2]))
