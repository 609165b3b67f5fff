"""Makes the reconcilers and what they share: the operator's own wiring, and its tests'."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox_operator.agent.bind import Binder
from sandbox_operator.agent.cached_view import AgentNews
from sandbox_operator.pool.available_pods import AvailablePods
from sandbox_operator.pool.claim import Claimer
from sandbox_operator.pool.pod_factory import BlankPodFactory
from sandbox_operator.pool.pods import PoolPods
from sandbox_operator.pool.reconciler import PoolReconciler
from sandbox_operator.pool.replenish import ReplenishPolicy
from sandbox_operator.session.apply import Applier
from sandbox_operator.session.background_calls import Drains
from sandbox_operator.session.network_policies import Policies
from sandbox_operator.session.observe import Observer
from sandbox_operator.session.reconciler import Reconciler
from sandbox_operator.session.renewals import Renewals
from sandbox_operator.session.template_cache import Templates

if TYPE_CHECKING:
    from sandbox_operator.agent.client import Agents
    from sandbox_operator.app.event_recorder import EventRecorder
    from sandbox_operator.app.metrics import Metrics
    from sandbox_operator.app.settings import Settings
    from sandbox_operator.credentials.source import CredentialSource
    from sandbox_operator.kube.client import KubeApi
    from sandbox_operator.pki.certificates import Authority
    from sandbox_operator.session.plan.steps import Timing
    from sandbox_operator.watch.scheduling import Scheduling
    from sandbox_operator.watch.store import Store


@dataclass(frozen=True, slots=True)
class Environment:
    """What the reconcilers work with: the cluster, what is known of it, and what they tell."""

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
    """The reconcilers, and what has to be stopped with them."""

    sessions: Reconciler
    pools: PoolReconciler
    drains: Drains
    renewals: Renewals
    available_pods: AvailablePods


def build_reconcilers(environment: Environment, scheduling: Scheduling, timing: Timing) -> Reconcilers:
    """Wire them up."""
    api, store, settings, metrics = environment.api, environment.store, environment.settings, environment.metrics
    drains, news = Drains(scheduling.enqueue), AgentNews()
    renewals = Renewals(scheduling.enqueue, scheduling.clock)
    templates, available_pods, policies = Templates(store, settings), AvailablePods(store), Policies(api, settings)
    binder = Binder(api, settings, environment.credentials, environment.authority)
    observer = Observer(store, environment.agents, drains, renewals, settings, templates, available_pods, news)
    pod_factory = BlankPodFactory(api, store, settings, environment.authority, policies, available_pods)
    claimer = Claimer(api, store, available_pods, pod_factory, metrics, scheduling.clock)
    applier = Applier(
        api,
        environment.agents,
        store,
        settings,
        environment.authority,
        binder,
        drains,
        renewals,
        environment.recorder,
        policies,
        claimer,
        news,
    )
    sessions = Reconciler(api, store, observer, applier, timing, scheduling, metrics)
    pools = PoolReconciler(
        api,
        store,
        templates,
        available_pods,
        PoolPods(store),
        ReplenishPolicy(store, clock=scheduling.monotonic),
        pod_factory,
        scheduling,
    )
    return Reconcilers(sessions, pools, drains, renewals, available_pods)
