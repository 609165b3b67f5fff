"""Carries out a plan's actions. Each is safe to repeat, and the API server's answers go into the store at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, assert_never

from sandbox_operator.agent.model import AgentView
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
from sandbox_operator.session.plan.steps import access_secret
from sandbox_operator.session.pod_state import address_of, read_pod_state
from sandbox_proto import tracing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_operator.agent.bind import Binder
    from sandbox_operator.agent.client import Agents, AgentViewCache
    from sandbox_operator.agent.model import AgentAddress
    from sandbox_operator.api.models import Session, Template
    from sandbox_operator.kube.client import KubeApi
    from sandbox_operator.pki.certificates import Authority
    from sandbox_operator.pool.claim import Claimer
    from sandbox_operator.pool.pod_signer import PodSigner
    from sandbox_operator.session.background_calls import BackgroundCalls
    from sandbox_operator.session.event_recorder import EventRecorder
    from sandbox_operator.session.model import Action, Observation
    from sandbox_operator.session.network_policies import NetworkPolicies
    from sandbox_operator.settings import Settings
    from sandbox_operator.watch.store import Store
    from sandbox_operator.watch.work_queue import Key

_LOG: Final = logging.getLogger(__name__)
_MAX_SUSPENDS: Final = 10
"""Attempts to suspend a session that changes meanwhile. After them it is observed again, at once."""


@dataclass(frozen=True, slots=True)
class Collaborators:
    """The objects through which actions reach the cluster and the agents."""

    api: KubeApi
    agents: Agents
    cached_views: AgentViewCache
    store: Store
    settings: Settings
    authority: Authority
    binder: Binder
    signer: PodSigner
    drains: BackgroundCalls[model.DrainState]
    renewals: BackgroundCalls[model.RenewalState]
    recorder: EventRecorder
    policies: NetworkPolicies
    claimer: Claimer


class Applier:
    """Carries out plans."""

    def __init__(self, collaborators: Collaborators) -> None:
        self._parts = collaborators

    async def apply(self, key: Key, observation: Observation, actions: tuple[Action, ...]) -> bool:
        """Carry out actions in order. Return True if the session should be observed again at once.

        Raises:
            Blocked: The session cannot continue. The remaining actions were not carried out.
        """
        if any(isinstance(action, model.ClaimPod | model.BindAgent) for action in actions):
            # Request the storage credentials now, while the API server carries out the first writes.
            self._parts.binder.prepare(observation.session)
        observe_again = False
        for action in actions:
            with tracing.span(type(action).__name__):
                observe_again |= await self._perform(key, observation, action)
        return observe_again

    async def _perform(self, key: Key, observation: Observation, action: Action) -> bool:  # noqa: C901, PLR0912 - one case per action
        match action:
            case model.ApplyNetworkPolicy():
                await self._parts.policies.apply(_template(observation), action.egress)
            case model.CreateTlsSecret():
                await self._create_tls_secret(observation)
            case model.CreatePod():
                await self._create_pod(observation, action)
            case model.AdoptPod():
                await self._adopt_pod(observation.session.metadata.namespace, action)
            case model.ClaimPod():
                await self._claim_pod(key, observation, action)
            case model.EnsureAccessSecret():
                await self._parts.binder.ensure_access(observation.session, action)
            case model.BindAgent():
                return await self._bind_agent(key, observation, action)
            case model.DrainAgent():
                self._drain_agent(key, observation, action)
            case model.RenewCredentials():
                self._renew_credentials(key, observation, action)
            case model.SetLifetime():
                await self._set_lifetime(key, observation, action)
            case model.DeletePod():
                await self._delete_pod(key, observation, action)
            case model.SuspendSession():
                return await self._suspend_session(observation, action)
            case model.DeleteSession():
                return await self._delete_session(observation)
            case model.EmitEvent():
                self._parts.recorder.record(observation.session, action.reason, action.message, warning=action.warning)
            case _:
                assert_never(action)
        # The answers may tell already that the pod runs. The store then has that version, and no event reports it.
        return isinstance(action, model.CreatePod | model.AdoptPod | model.ClaimPod)

    async def _create_tls_secret(self, observation: Observation) -> None:
        session = observation.session
        namespace, pod = session.metadata.namespace, naming.pod_name(session)
        server_name = naming.server_name(pod, namespace)
        # Making a key takes one or two milliseconds of CPU, which must not block the loop when many sessions start.
        pair = await asyncio.to_thread(self._parts.authority.sign_server, server_name, datetime.now(UTC))
        body = build_tls_secret(session, pair, self._parts.authority.pem)
        try:
            await self._parts.api.create(SECRETS, namespace, body)
        except AlreadyExistsError:
            name = body["metadata"]["name"]
            await self._require_own_secret(observation, name)
            await self._parts.api.patch(SECRETS, namespace, name, {"data": body["data"]})

    async def _create_pod(self, observation: Observation, action: model.CreatePod) -> None:
        request = PodRequest(
            observation.session,
            _template(observation),
            action.egress,
            action.resources,
            self._parts.settings.images,
        )
        body = build_pod(request)
        namespace, name = observation.session.metadata.namespace, body["metadata"]["name"]
        try:
            pod = await self._parts.api.create(PODS, namespace, body)
        except AlreadyExistsError:
            # It is ours from before a crash, our previous pod that is still ending, or another owner's.
            self._parts.store.put(PODS, await self._parts.api.get(PODS, namespace, name))
        except (ForbiddenError, InvalidError) as error:
            raise Blocked("PodRefused", str(error), retry_after=15) from error
        else:
            await self._parts.signer.sign(pod)

    async def _adopt_pod(self, namespace: str, action: model.AdoptPod) -> None:
        pod = await self._parts.api.get(PODS, namespace, action.name)
        if pod["metadata"]["uid"] == action.uid:
            await self._parts.signer.sign(pod)

    async def _claim_pod(self, key: Key, observation: Observation, action: model.ClaimPod) -> None:
        session, template = observation.session, _template(observation)
        kind = (session.metadata.namespace, template.metadata.name, action.pod_hash)
        pod = await self._parts.claimer.claim(
            key, session, kind, action.egress, partial(self._prepare_bind, observation)
        )
        if pod is not None:
            # A pod that is Ready and was not bound yet has a blank agent, so there is no need to ask the agent.
            metadata = pod["metadata"]
            server_name = naming.server_name(metadata["name"], metadata["namespace"])
            self._parts.cached_views.put(key, server_name, AgentView())

    async def _prepare_bind(self, observation: Observation, raw: Mapping[str, Any]) -> None:
        """Prepare the Bind of a pod while it is being claimed. Errors are ignored: Bind itself repeats these steps."""
        pod = read_pod_state(raw)
        if address := address_of(observation.session.metadata.namespace, pod):
            self._parts.agents.connect(address)
        with contextlib.suppress(OperatorError):
            await self._parts.binder.ensure_access(observation.session, access_secret(observation, pod))

    async def _bind_agent(self, key: Key, observation: Observation, action: model.BindAgent) -> bool:
        if observation.address is None:
            return False
        request = await self._parts.binder.build_request(observation.session, _template(observation), action)
        try:
            view = await self._parts.agents.bind(observation.address, request)
        except AgentError as error:
            message = f"{error.reason}: {error}"
            if error.reason in {"RUNTIME_UNAVAILABLE", "UNAVAILABLE"}:
                # The agent's runtime is not up yet, which is a matter of milliseconds.
                raise Blocked("Connecting", message, retry_after=0.1) from error
            raise Blocked("BindFailed", message, retry_after=5) from error
        self._parts.cached_views.put(key, observation.address.server_name, view)
        return True

    async def _set_lifetime(self, key: Key, observation: Observation, action: model.SetLifetime) -> None:
        address, uid = observation.address, observation.session.metadata.uid
        if address is None:
            return
        try:
            await self._parts.agents.set_lifetime(address, uid, action.remaining)
        except AgentError as error:
            _LOG.warning("the agent's deadline was not moved: %s", error, extra={"session": "/".join(key[1:])})

    def _drain_agent(self, key: Key, observation: Observation, action: model.DrainAgent) -> None:
        address, settings, uid = observation.address, self._parts.settings, observation.session.metadata.uid
        grace = min(settings.drain_grace, action.seconds / 2)
        timeout = max(1.0, min(settings.drain_timeout, action.seconds - grace))
        if address is not None:
            self._parts.drains.start(
                key,
                action.pod_uid,
                lambda: self._parts.agents.drain(address, uid, grace, timeout, require_all=action.require_all),
            )

    def _renew_credentials(self, key: Key, observation: Observation, action: model.RenewCredentials) -> None:
        address, session = observation.address, observation.session
        if address is not None:
            self._parts.renewals.start(key, action.pod_uid, lambda: self._renew(key, address, session))

    async def _renew(self, key: Key, address: AgentAddress, session: Session) -> AgentView:
        view = await self._parts.agents.renew(address, await self._parts.binder.build_renewal(session))
        self._parts.cached_views.put(key, address.server_name, view)
        return view

    async def _delete_pod(self, key: Key, observation: Observation, action: model.DeletePod) -> None:
        namespace = observation.session.metadata.namespace
        try:
            answer = await self._parts.api.delete(PODS, namespace, action.name, uid=action.uid, grace=action.grace)
        except NotFoundError:
            answer = {}
        except ConflictError:
            if await self._refresh_pod(namespace, action.name, action.uid):
                raise
            answer = {}
        if observation.pod is not None and observation.pod.uid == action.uid:
            self._parts.drains.forget(key)
            self._parts.renewals.forget(key)
            if observation.address is not None:
                await self._parts.agents.forget(observation.address)
        if answer.get("kind") == "Pod" and answer["metadata"].get("deletionTimestamp") and action.grace != 0:
            self._parts.store.put(PODS, answer)
        else:
            await self._refresh_pod(namespace, action.name, action.uid)

    async def _refresh_pod(self, namespace: str, name: str, uid: str) -> bool:
        """Update the store's copy of a pod whose deletion may have been missed.

        Returns True if the pod exists and is not being deleted.
        """
        try:
            pod = await self._parts.api.get(PODS, namespace, name)
        except NotFoundError:
            self._parts.store.remove(PODS, {"metadata": {"namespace": namespace, "name": name, "uid": uid}})
            return False
        self._parts.store.put(PODS, pod)
        return bool(pod["metadata"]["uid"] == uid and not pod["metadata"].get("deletionTimestamp"))

    async def _suspend_session(self, observation: Observation, action: model.SuspendSession) -> bool:
        metadata = observation.session.metadata
        place, version = (metadata.namespace, metadata.name), metadata.resource_version
        try:
            for _ in range(_MAX_SUSPENDS):
                # The resourceVersion makes sure that the write results in exactly this generation: see
                # naming.SUSPENDED_BY.
                reason = f"{action.reason}/{metadata.generation + 1}"
                changed = {"resourceVersion": version, "annotations": {naming.SUSPENDED_BY: reason}}
                body = {"metadata": changed, "spec": {"suspended": True}}
                try:
                    self._parts.store.put(SESSIONS, await self._parts.api.patch(SESSIONS, *place, body))
                except ConflictError:
                    # Its owner may change it many times a second. That must not keep it alive.
                    raw = await self._parts.api.get(SESSIONS, *place)
                    self._parts.store.put(SESSIONS, raw)
                    if (raw["metadata"]["uid"], raw["metadata"]["generation"]) != (metadata.uid, metadata.generation):
                        return True
                    version = raw["metadata"]["resourceVersion"]
                else:
                    return True
        except NotFoundError:
            self._parts.store.mark_deleted(SESSIONS, place, metadata.uid)
            return False
        return True

    async def _delete_session(self, observation: Observation) -> bool:
        metadata = observation.session.metadata
        try:
            await self._parts.api.delete(SESSIONS, metadata.namespace, metadata.name, uid=metadata.uid)
        except NotFoundError:
            # It was deleted already. The event that reports it may be late, or was missed.
            self._parts.store.mark_deleted(SESSIONS, (metadata.namespace, metadata.name), metadata.uid)
            return True
        return False

    async def _require_own_secret(self, observation: Observation, name: str) -> None:
        secret = await self._parts.api.get(SECRETS, observation.session.metadata.namespace, name)
        if controller_uid(secret) != observation.session.metadata.uid:
            raise Blocked("SecretNameTaken", f"Secret {name} belongs to another owner")


def _template(observation: Observation) -> Template:
    if observation.template is None:
        raise AssertionError("the planner plans this action only if there is a template")
    return observation.template
