"""Builds the reconcilers and the parts they share. Both the operator and its tests use it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox_operator.agent.bind import Binder
from sandbox_operator.agent.client import AgentViewCache
from sandbox_operator.app.orphans import OrphanReaper
from sandbox_operator.pki.origin import Origins
from sandbox_operator.pool.available_pods import AvailablePods
from sandbox_operator.pool.claim import Claimer
from sandbox_operator.pool.pod_factory import BlankPodFactory
from sandbox_operator.pool.pod_signer import PodSigner
from sandbox_operator.pool.pods import PoolPods
from sandbox_operator.pool.reconciler import PoolReconciler
from sandbox_operator.pool.replenish import ReplenishPolicy
from sandbox_operator.session.apply import Applier, Collaborators
from sandbox_operator.session.background_calls import BackgroundCalls, track_drains, track_renewals
from sandbox_operator.session.network_policies import NetworkPolicies
from sandbox_operator.session.observe import Observer
from sandbox_operator.session.reconciler import SessionReconciler
from sandbox_operator.session.template_cache import TemplateCache
from sandbox_operator.watch.usage import NamespaceUsage

if TYPE_CHECKING:
    from sandbox_operator.agent.client import Agents
    from sandbox_operator.credentials.source import CredentialSource
    from sandbox_operator.kube.client import KubeApi
    from sandbox_operator.metrics import Metrics
    from sandbox_operator.pki.certificates import Authority
    from sandbox_operator.session.event_recorder import EventRecorder
    from sandbox_operator.session.model import DrainState, RenewalState
    from sandbox_operator.session.plan.steps import Timing
    from sandbox_operator.settings import Settings
    from sandbox_operator.watch.scheduling import Scheduling
    from sandbox_operator.watch.store import Store


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The clients, caches and settings of one process, from which its reconcilers are built."""

    api: KubeApi
    agents: Agents
    store: Store
    settings: Settings
    authority: Authority
    credentials: CredentialSource
    recorder: EventRecorder
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class Reconcilers:
    """The reconcilers, and the parts of them that the controller stops or measures."""

    sessions: SessionReconciler
    pools: PoolReconciler
    drains: BackgroundCalls[DrainState]
    renewals: BackgroundCalls[RenewalState]
    available_pods: AvailablePods
    orphans: OrphanReaper


def build_reconcilers(dependencies: Dependencies, scheduling: Scheduling, timing: Timing) -> Reconcilers:
    """Build both reconcilers with everything that they share."""
    api, agents, store, settings = dependencies.api, dependencies.agents, dependencies.store, dependencies.settings
    authority, metrics = dependencies.authority, dependencies.metrics
    drains = track_drains(scheduling.enqueue, scheduling.clock)
    renewals = track_renewals(scheduling.enqueue, scheduling.clock)
    templates, policies = TemplateCache(store, settings), NetworkPolicies(api, settings)
    available_pods, origins = AvailablePods(store), Origins(authority)
    cached_views = AgentViewCache()
    usage = NamespaceUsage(store, settings.namespace_limits, scheduling.enqueue)
    signer = PodSigner(api, store, origins)
    pod_factory = BlankPodFactory(api, store, settings, authority, origins, signer, policies, available_pods)
    collaborators = Collaborators(
        api=api,
        agents=agents,
        cached_views=cached_views,
        store=store,
        settings=settings,
        authority=authority,
        binder=Binder(api, settings, dependencies.credentials, authority, origins),
        signer=signer,
        drains=drains,
        renewals=renewals,
        recorder=dependencies.recorder,
        policies=policies,
        claimer=Claimer(api, store, available_pods, pod_factory, metrics, scheduling.clock),
    )
    observer = Observer(
        store, agents, cached_views, drains, renewals, settings, templates, available_pods, usage, signer
    )
    sessions = SessionReconciler(api, store, observer, Applier(collaborators), timing, scheduling, metrics, usage)
    pools = PoolReconciler(
        api,
        store,
        templates,
        available_pods,
        PoolPods(store),
        ReplenishPolicy(store, clock=scheduling.monotonic),
        pod_factory,
        scheduling,
        usage,
    )
    orphans = OrphanReaper(api, store, scheduling.clock, scheduling.monotonic)
    return Reconcilers(sessions, pools, drains, renewals, available_pods, orphans)
