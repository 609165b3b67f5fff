"""Writes: one method an action, each safe to repeat. What the API server answers goes into the store at once."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from sandbox_operator.agent.client import AgentView
from sandbox_operator.api import naming
from sandbox_operator.errors import (
    AgentError,
    AlreadyExistsError,
    Blocked,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    OperatorError,
)
from sandbox_operator.kube.resources import PODS, SECRETS, SESSIONS
from sandbox_operator.manifests.ownership import controller_uid
from sandbox_operator.manifests.pod import PodRequest, build_pod
from sandbox_operator.manifests.secrets import build_tls_secret
from sandbox_operator.session import model
from sandbox_operator.session.observe import address_of
from sandbox_operator.session.plan.steps import access
from sandbox_operator.session.pod_state import view_pod
from sandbox_proto import tracing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from sandbox_operator.agent.bind import Binder
    from sandbox_operator.agent.cached_view import AgentNews
    from sandbox_operator.agent.client import AgentAddress, Agents
    from sandbox_operator.api.models import Session, Template
    from sandbox_operator.app.event_recorder import EventRecorder
    from sandbox_operator.app.settings import Settings
    from sandbox_operator.kube.client import KubeApi
    from sandbox_operator.pki.certificates import Authority
    from sandbox_operator.pool.claim import Claimer
    from sandbox_operator.session.background_calls import Drains
    from sandbox_operator.session.model import Action, Observation
    from sandbox_operator.session.network_policies import Policies
    from sandbox_operator.session.renewals import Renewals
    from sandbox_operator.watch.store import Store
    from sandbox_operator.watch.work_queue import Key


class Applier:
    """Carries out plans."""

    def __init__(
        self,
        api: KubeApi,
        agents: Agents,
        store: Store,
        settings: Settings,
        authority: Authority,
        binder: Binder,
        drains: Drains,
        renewals: Renewals,
        recorder: EventRecorder,
        policies: Policies,
        claimer: Claimer,
        news: AgentNews,
    ) -> None:
        self._api, self._agents, self._store, self._settings = api, agents, store, settings
        self._authority, self._binder, self._drains, self._recorder = authority, binder, drains, recorder
        self._policies, self._claimer, self._news = policies, claimer, news
        self._renewals = renewals
        self._perform: dict[type, Callable[[Key, Observation, Any], Awaitable[bool]]] = {
            model.ApplyNetworkPolicy: self._apply_network_policy,
            model.CreateTlsSecret: self._create_tls_secret,
            model.CreatePod: self._create_pod,
            model.ClaimPod: self._claim_pod,
            model.EnsureAccessSecret: self._ensure_access_secret,
            model.BindAgent: self._bind_agent,
            model.DrainAgent: self._drain_agent,
            model.RenewCredentials: self._renew_credentials,
            model.DeletePod: self._delete_pod,
            model.SuspendSession: self._suspend_session,
            model.DeleteSession: self._delete_session,
            model.EmitEvent: self._emit_event,
        }

    async def apply(self, key: Key, observation: Observation, actions: tuple[Action, ...]) -> bool:
        """Carry out actions in order; whether what they changed is worth another look at once.

        Raises:
            Blocked: The session cannot go on; what follows was not done.
        """
        look_again = False
        if any(isinstance(action, model.ClaimPod | model.BindAgent) for action in actions):
            # The credentials are on their way while the API server writes.
            self._binder.prepare(observation.session)
        for action in actions:
            with tracing.span(type(action).__name__):
                look_again |= await self._perform[type(action)](key, observation, action)
        return look_again

    async def _apply_network_policy(self, _: Key, observation: Observation, action: model.ApplyNetworkPolicy) -> bool:
        await self._policies.apply(_template(observation), action.egress)
        return False

    async def _create_tls_secret(self, _: Key, observation: Observation, __: model.CreateTlsSecret) -> bool:
        session = observation.session
        namespace, pod = session.metadata.namespace, naming.pod_name(session)
        server_name = naming.server_name(pod, namespace)
        # Making a key takes a millisecond or two of CPU, which many starts at once would add up on the loop.
        pair = await asyncio.to_thread(self._authority.sign_server, server_name, datetime.now(UTC))
        body = build_tls_secret(session, pair, self._authority.pem)
        try:
            await self._api.create(SECRETS, namespace, body)
        except AlreadyExistsError:
            name = body["metadata"]["name"]
            await self._require_own_secret(observation, name)
            await self._api.patch(SECRETS, namespace, name, {"data": body["data"]})
        return False

    async def _create_pod(self, _: Key, observation: Observation, action: model.CreatePod) -> bool:
        request = PodRequest(
            observation.session,
            _template(observation),
            action.egress,
            action.resources,
            self._settings.images,
        )
        body = build_pod(request)
        namespace, name = observation.session.metadata.namespace, body["metadata"]["name"]
        try:
            pod = await self._api.create(PODS, namespace, body)
        except AlreadyExistsError:
            # Our own of before a crash, the last one on its way out, or a foreign one: the next look tells.
            pod = await self._api.get(PODS, namespace, name)
        except (ForbiddenError, InvalidError) as error:
            raise Blocked("PodRefused", str(error), retry_after=15) from error
        self._store.put(PODS, pod)
        return controller_uid(pod) != observation.session.metadata.uid

    async def _claim_pod(self, key: Key, observation: Observation, action: model.ClaimPod) -> bool:
        session, template = observation.session, _template(observation)
        kind = (session.metadata.namespace, template.metadata.name, action.pod_hash)
        pod = await self._claimer.claim(key, session, kind, action.egress, partial(self._prepare_bind, observation))
        if pod is not None:
            # A pool's pod is ready only while its agent says so, and what is bound is not blank: no need to ask it.
            metadata = pod["metadata"]
            self._news.put(key, naming.server_name(metadata["name"], metadata["namespace"]), AgentView())
        return True

    async def _prepare_bind(self, observation: Observation, raw: Mapping[str, Any]) -> None:
        """What a Bind needs, for a pod that is being claimed. What fails is done again once it is the session's."""
        pod = view_pod(raw)
        if address := address_of(observation.session.metadata.namespace, pod):
            self._agents.connect(address)
        with contextlib.suppress(OperatorError):
            await self._binder.ensure_access(observation.session, access(observation, pod))

    async def _ensure_access_secret(self, _: Key, observation: Observation, action: model.EnsureAccessSecret) -> bool:
        await self._binder.ensure_access(observation.session, action)
        return False

    async def _bind_agent(self, key: Key, observation: Observation, action: model.BindAgent) -> bool:
        if observation.address is None:
            return False
        request = await self._binder.build_request(observation.session, _template(observation), action)
        try:
            view = await self._agents.bind(observation.address, request)
        except AgentError as error:
            # An agent whose runtime is not there yet says UNAVAILABLE: that is a matter of milliseconds.
            is_early = error.reason in {"RUNTIME_UNAVAILABLE", "UNAVAILABLE"}
            message = f"{error.reason}: {error}"
            raise Blocked(
                "Connecting" if is_early else "BindFailed", message, retry_after=0.1 if is_early else 5
            ) from error
        self._news.put(key, observation.address.server_name, view)
        return True

    async def _drain_agent(self, key: Key, observation: Observation, action: model.DrainAgent) -> bool:
        address, settings, uid = observation.address, self._settings, observation.session.metadata.uid
        if address is not None:
            self._drains.start(
                key,
                action.pod_uid,
                lambda: self._agents.drain(address, uid, settings.drain_grace, settings.drain_timeout),
            )
        return False

    async def _renew_credentials(self, key: Key, observation: Observation, action: model.RenewCredentials) -> bool:
        address, session = observation.address, observation.session
        if address is not None:
            self._renewals.start(key, action.pod_uid, lambda: self._renew(key, address, session))
        return False

    async def _renew(self, key: Key, address: AgentAddress, session: Session) -> AgentView:
        view = await self._agents.renew(address, await self._binder.build_renewal(session))
        self._news.put(key, address.server_name, view)
        return view

    async def _delete_pod(self, key: Key, observation: Observation, action: model.DeletePod) -> bool:
        namespace = observation.session.metadata.namespace
        grace = 0 if action.force else None
        try:
            answer = await self._api.delete(PODS, namespace, action.name, uid=action.uid, grace=grace)
        except NotFoundError:
            answer = {}
        except ConflictError:
            if await self._refresh_pod(namespace, action.name, action.uid):
                raise
            answer = {}
        if observation.pod is not None and observation.pod.uid == action.uid:
            self._drains.forget(key)
            self._renewals.forget(key)
            if observation.address is not None:
                await self._agents.forget(observation.address)
        if answer.get("kind") == "Pod" and answer["metadata"].get("deletionTimestamp") and not action.force:
            self._store.put(PODS, answer)
            return False
        await self._refresh_pod(namespace, action.name, action.uid)
        return False

    async def _refresh_pod(self, namespace: str, name: str, uid: str) -> bool:
        """Bring the store up to date about a pod that may be gone unheard; whether it lives."""
        try:
            pod = await self._api.get(PODS, namespace, name)
        except NotFoundError:
            self._store.remove(PODS, {"metadata": {"namespace": namespace, "name": name, "uid": uid}})
            return False
        self._store.put(PODS, pod)
        return bool(pod["metadata"]["uid"] == uid and not pod["metadata"].get("deletionTimestamp"))

    async def _suspend_session(self, _: Key, observation: Observation, action: model.SuspendSession) -> bool:
        metadata = observation.session.metadata
        # With the resourceVersion it is certain which generation this makes; see naming.SUSPENDED_BY.
        body = {
            "metadata": {
                "resourceVersion": metadata.resource_version,
                "annotations": {naming.SUSPENDED_BY: f"{action.reason}/{metadata.generation + 1}"},
            },
            "spec": {"suspended": True},
        }
        try:
            answer = await self._api.patch(SESSIONS, metadata.namespace, metadata.name, body)
        except NotFoundError:
            self._store.bury(SESSIONS, (metadata.namespace, metadata.name), metadata.uid)
            return False
        self._store.put(SESSIONS, answer)
        return True

    async def _delete_session(self, _: Key, observation: Observation, __: model.DeleteSession) -> bool:
        metadata = observation.session.metadata
        try:
            await self._api.delete(SESSIONS, metadata.namespace, metadata.name, uid=metadata.uid)
        except NotFoundError:
            # Somebody was faster, and the event of it may be late, or missed.
            self._store.bury(SESSIONS, (metadata.namespace, metadata.name), metadata.uid)
            return True
        return False

    async def _emit_event(self, _: Key, observation: Observation, action: model.EmitEvent) -> bool:
        self._recorder.record(observation.session, action.reason, action.message, warning=action.warning)
        return False

    async def _require_own_secret(self, observation: Observation, name: str) -> None:
        secret = await self._api.get(SECRETS, observation.session.metadata.namespace, name)
        if controller_uid(secret) != observation.session.metadata.uid:
            raise Blocked("SecretNameTaken", f"Secret {name} is not this session's")


def _template(observation: Observation) -> Template:
    if observation.template is None:
        raise AssertionError("a plan that needs a template is made with one only")
    return observation.template
