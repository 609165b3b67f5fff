"""Reads for one session: the store, and its agent. Never writes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from sandbox_operator.agent_client import AgentAddress
from sandbox_operator.api import naming
from sandbox_operator.api.models import Session, Template, parse
from sandbox_operator.errors import AgentError, SpecError
from sandbox_operator.kube.resources import PODS, SESSIONS, TEMPLATES
from sandbox_operator.manifests.network_policy import build_network_policy
from sandbox_operator.manifests.ownership import controller_uid
from sandbox_operator.reconcile.model import Observation
from sandbox_operator.reconcile.pod_view import view_pod

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_operator.agent_client import Agents, AgentView
    from sandbox_operator.reconcile.drains import Drains
    from sandbox_operator.reconcile.model import PodView
    from sandbox_operator.settings import Settings
    from sandbox_operator.store import Store
    from sandbox_operator.work_queue import Key

_RESTORE_WAIT = 2.0


class Observer:
    """Makes observations; remembers only when starts and binds began, and which agents were asked."""

    def __init__(self, store: Store, agents: Agents, drains: Drains, settings: Settings) -> None:
        self._store, self._agents, self._drains, self._settings = store, agents, drains, settings
        self._starts: dict[Key, float] = {}
        self._binds: dict[Key, float] = {}
        self._addresses: dict[Key, set[AgentAddress]] = {}

    async def observe(self, key: Key, session: Session) -> Observation:
        """All that the session's plan depends on."""
        template, template_problem = self._find_template(session)
        pod, is_foreign = self._find_pod(session)
        address = self._address(session, pod)
        if address is not None:
            self._addresses.setdefault(key, set()).add(address)
        agent, agent_problem = await self._ask(address)
        now = time.monotonic()
        return Observation(
            session=session,
            template=template,
            template_problem=template_problem,
            pod=pod,
            is_pod_foreign=is_foreign,
            address=address,
            agent=agent,
            agent_problem=agent_problem,
            drain=self._drains.get(key),
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
        """The session is gone: so are its agents."""
        self.forget(key)
        for address in self._addresses.pop(key, ()):
            await self._agents.forget(address)

    def forget(self, key: Key) -> None:
        """The session has no pod any more."""
        self._starts.pop(key, None)
        self._binds.pop(key, None)

    def _find_template(self, session: Session) -> tuple[Template | None, str]:
        name = session.spec.template_ref.name or self._settings.default_template
        raw = self._store.get(TEMPLATES, (session.metadata.namespace, name))
        if raw is None:
            return None, ""
        try:
            template = parse(Template, raw)
            build_network_policy(template, template.spec.egress.mode, self._settings)
        except SpecError as error:
            return None, str(error)
        return template, ""

    def _find_pod(self, session: Session) -> tuple[PodView | None, bool]:
        namespace, uid = session.metadata.namespace, session.metadata.uid
        raw = self._store.get(PODS, (namespace, naming.pod_name(session)))
        if raw is not None and controller_uid(raw) != uid:
            return None, True
        return (view_pod(raw) if raw is not None else None), False

    def _address(self, session: Session, pod: PodView | None) -> AgentAddress | None:
        if pod is None or pod.deleted or pod.has_ended or not pod.ip or not pod.is_agent_running:
            return None
        host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
        name = naming.server_name(pod.name, session.metadata.namespace)
        return AgentAddress(f"{host}:{naming.CONTROL_PORT}", name)

    async def _ask(self, address: AgentAddress | None) -> tuple[AgentView | None, str]:
        if address is None:
            return None, ""
        try:
            agent = await self._agents.describe(address)
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
