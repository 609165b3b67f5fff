"""Reads all that a session's plan depends on: objects in the store, and the session's agent. Never writes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from sandbox_operator.api import naming
from sandbox_operator.api.values import format_time, parse_time
from sandbox_operator.errors import AgentError, Blocked
from sandbox_operator.kube.resources import PODS, SESSIONS
from sandbox_operator.manifests.needs import CLAIM, need_of
from sandbox_operator.manifests.ownership import controller_uid
from sandbox_operator.session.admission import choose_resources, default_resources
from sandbox_operator.session.model import Observation
from sandbox_operator.session.pod_state import address_of, read_pod_state
from sandbox_operator.watch.store import age_of, wants_pod

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sandbox_operator.agent.client import Agents, AgentViewCache
    from sandbox_operator.agent.model import AgentAddress, AgentView
    from sandbox_operator.api.models import Session, Template
    from sandbox_operator.manifests.needs import Need
    from sandbox_operator.pool.available_pods import AvailablePods
    from sandbox_operator.pool.pod_signer import PodSigner
    from sandbox_operator.session.background_calls import BackgroundCalls
    from sandbox_operator.session.model import DrainState, PodState, RenewalState
    from sandbox_operator.session.template_cache import FoundTemplate, TemplateCache
    from sandbox_operator.settings import Settings
    from sandbox_operator.watch.store import Store
    from sandbox_operator.watch.usage import NamespaceUsage
    from sandbox_operator.watch.work_queue import Key

_RECENT: Final = 10.0
"""Seconds in which accepted Binds are counted."""
_RESTORE_WAIT: Final = 2.0
"""Longest time, in seconds, that an agent may delay its answer until its restore has ended."""


class Observer:
    """Makes observations. It remembers when starts, Binds and shorter ends began, and which agents were called."""

    def __init__(
        self,
        store: Store,
        agents: Agents,
        cached_views: AgentViewCache,
        drains: BackgroundCalls[DrainState],
        renewals: BackgroundCalls[RenewalState],
        settings: Settings,
        templates: TemplateCache,
        available_pods: AvailablePods,
        usage: NamespaceUsage,
        signer: PodSigner,
    ) -> None:
        self._store, self._agents, self._cached_views = store, agents, cached_views
        self._drains, self._renewals, self._settings = drains, renewals, settings
        self._templates, self._available_pods, self._usage = templates, available_pods, usage
        self._signer = signer
        self._starts: dict[Key, float] = {}
        self._binds: dict[Key, float] = {}
        self._bound: dict[Key, list[float]] = {}
        self._addresses: dict[Key, AgentAddress] = {}
        self._shortened: dict[Key, dict[str, datetime]] = {}
        """Time at which each pod's deletion was shortened, by the pod's uid."""

    async def observe(self, key: Key, session: Session) -> Observation:
        """Return all that the session's plan depends on."""
        metadata = session.metadata
        name = session.spec.template_ref.name or self._settings.default_template
        found = self._templates.find(session.metadata.namespace, name)
        pods = self._find_pods(session)
        unproven = [read_pod_state(raw) for raw in self._store.unproven_pods_of(metadata.namespace, metadata.uid)]
        # Earlier versions neither signed a pod nor recorded its uid. A forged one is younger than what they recorded.
        # The API server may also not have taken the signature of a pod that this process has just created.
        unsigned = [p for p in unproven if self._signer.is_pending(p.uid) or is_recorded(session.status, p)]
        is_unsigned = not pods and bool(unsigned)
        if is_unsigned:
            pods = unsigned[:1]
            unproven = [pod for pod in unproven if pod is not pods[0]]
        pod = pods[0] if pods else None
        address = address_of(session.metadata.namespace, pod) if pod else None
        await self._switch_agent(key, address)
        agent, agent_problem = await self._describe_agent(key, address)
        if pod is None:
            self._shortened.pop(key, None)
        renewal = self._renewals.get(key)
        now = time.monotonic()
        warm_pods = self._count_warm(key, session, found) if pod is None else 0
        need = find_need(session, found.template, warm_pods) if pod is None else None
        room, limit = self._usage.find_room(key, need) if need is not None else (1, "")
        return Observation(
            session=session,
            template_name=name,
            template=found.template,
            template_problem=found.problem,
            pod=pod,
            shortened=self._shortened.get(key, {}).get(pod.uid) if pod else None,
            extra_pods=tuple(pods[1:]),
            unproven_pods=tuple(unproven),
            is_unsigned=is_unsigned,
            warm_pods=warm_pods,
            pod_hash=found.pod_hash,
            is_pod_foreign=pod is None and self._is_name_foreign(session),
            need=need,
            limit_exceeded="" if room else limit,
            waits_since=self._usage.waits_since(key),
            address=address,
            agent=agent,
            agent_problem=agent_problem,
            drain=self._drains.get(key),
            has_storage=bool(self._settings.storage_bucket),
            renewal=renewal if renewal and pod and renewal.pod_uid == pod.uid else None,
            workspace_holder=self._find_holder(session) if pod is None and not session.spec.suspended else "",
            had_pod=session.status.get("phase") in {"Ready", "Starting"} and bool(session.status.get("endpoint")),
            seconds_since_bind=now - self._binds[key] if key in self._binds else None,
            recent_binds=sum(now - moment < _RECENT for moment in self._bound.get(key, ())),
            start_seconds=now - self._starts[key] if key in self._starts else None,
        )

    def note_start(self, key: Key) -> None:
        """Record that a session begins to start, unless it has begun already."""
        self._starts.setdefault(key, time.monotonic())

    def note_bind(self, key: Key) -> None:
        """Record that Bind is being called."""
        self._binds[key] = time.monotonic()

    def note_bound(self, key: Key) -> None:
        """Record that the agent has accepted a Bind."""
        now = time.monotonic()
        self._bound[key] = [*(moment for moment in self._bound.get(key, ()) if now - moment < _RECENT), now]

    def note_shortened(self, key: Key, uid: str, now: datetime) -> None:
        """Record that a pod's deletion gets the usual grace period, whatever it had before."""
        self._shortened.setdefault(key, {})[uid] = now

    def note_ready(self, key: Key) -> None:
        """Record that the start has ended."""
        self._starts.pop(key, None)

    async def release(self, key: Key) -> None:
        """Forget a deleted session, and close the connection to its agent."""
        self.forget(key)
        self._shortened.pop(key, None)
        self._available_pods.cancel_reservation(key)
        await self._switch_agent(key, None)

    def forget(self, key: Key) -> None:
        """Forget when a session began to start and was bound, because it no longer has a pod."""
        self._starts.pop(key, None)
        self._binds.pop(key, None)
        self._bound.pop(key, None)

    def _find_pods(self, session: Session) -> list[PodState]:
        """Return the session's pods, the serving one first. There is more than one if a former leader claimed late."""
        metadata = session.metadata
        pods = [read_pod_state(raw) for raw in self._store.pods_of(metadata.namespace, metadata.uid)]
        served_by = session.status.get("podName")
        return sorted(pods, key=lambda pod: (pod.deleted is not None, pod.name != served_by, pod.created, pod.name))

    def _is_name_foreign(self, session: Session) -> bool:
        """Return True if a pod that is not the session's own has the name that its own would get."""
        raw = self._store.get(PODS, (session.metadata.namespace, naming.pod_name(session)))
        return raw is not None and (controller_uid(raw) != session.metadata.uid or not raw["own"])

    def _count_warm(self, key: Key, session: Session, found: FoundTemplate) -> int:
        if found.template is None:
            return 0
        kind = (session.metadata.namespace, found.template.metadata.name, found.pod_hash)
        return self._available_pods.count(key, kind)

    async def _switch_agent(self, key: Key, address: AgentAddress | None) -> None:
        """Keep one agent connection per session: close the one to the session's previous agent."""
        old = self._addresses.pop(key, None)
        if old is not None and old != address:
            await self._agents.forget(old)
        if address is not None:
            self._addresses[key] = address

    async def _describe_agent(self, key: Key, address: AgentAddress | None) -> tuple[AgentView | None, str]:
        if address is None:
            return None, ""
        try:
            agent = self._cached_views.take(key, address.server_name) or await self._agents.describe(address)
            if agent.state == "BOUND" and agent.restore == "RUNNING":
                agent = await self._agents.describe(address, wait=_RESTORE_WAIT)
        except AgentError as error:
            return None, error.reason
        return agent, ""

    def _find_holder(self, session: Session) -> str:
        """Return the name of another session that is using this session's workspace, or "" if the workspace is free.

        A session with a pod is using its workspace. Among sessions without a pod, the oldest that wants one is next.
        """
        me = session.metadata
        mine = (format_time(me.creation_timestamp) or "", me.uid)
        using, earlier = "", mine
        first = ""
        for raw in self._store.claimants(me.namespace, session.workspace_name):
            uid, name = raw["metadata"].get("uid"), str(raw["metadata"]["name"])
            if uid == me.uid:
                continue
            if self._store.pods_of(me.namespace, uid):
                # The same one each time, so that the status does not change.
                using = min(using or name, name)
            elif wants_pod(raw) and age_of(raw) < earlier:
                first, earlier = name, age_of(raw)
        return using or first


def is_recorded(status: Mapping[str, Any], pod: PodState) -> bool:
    """Return True if an earlier version of the operator recorded this pod as the session's."""
    started = parse_time(status.get("startedAt"))
    is_older = started is not None and pod.made is not None and pod.made <= started
    return is_older and status.get("podName") == pod.name and not status.get("podUid")


def find_need(session: Session, template: Template | None, warm_pods: int) -> Need | None:
    """Return what a session without a pod would add to the use of its namespace, or None if it may not start."""
    if template is None:
        return None
    try:
        resources = choose_resources(session, template)
    except Blocked:
        return None
    return CLAIM if warm_pods and resources == default_resources(template) else need_of(resources, is_blank=False)


def find_session(store: Store, key: Key) -> Mapping[str, Any] | None:
    """Return the raw session of a key, or None if it does not exist."""
    return store.get(SESSIONS, (key[1], key[2]))
