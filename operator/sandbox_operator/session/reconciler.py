"""Reconciles one session: observe, plan, apply, and at the end write the status once if it has changed."""

from __future__ import annotations

import contextlib
import logging
import random
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sandbox_operator.api.models import Session, parse
from sandbox_operator.api.values import parse_time
from sandbox_operator.errors import Blocked, InvalidError, NotFoundError, SpecError
from sandbox_operator.kube.resources import PODS, SESSIONS
from sandbox_operator.session import model
from sandbox_operator.session.observe import find_session
from sandbox_operator.session.plan.backoff import refuse
from sandbox_operator.session.plan.plan import plan_blocked, plan_invalid, plan_session
from sandbox_operator.session.resync import choose_interval, is_undisturbed
from sandbox_operator.session.status import build_patch
from sandbox_proto import tracing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_operator.kube.client import KubeApi
    from sandbox_operator.metrics import Metrics
    from sandbox_operator.session.apply import Applier
    from sandbox_operator.session.model import Observation, Plan
    from sandbox_operator.session.observe import Observer
    from sandbox_operator.session.plan.backoff import Refusal
    from sandbox_operator.session.plan.steps import Timing
    from sandbox_operator.watch.scheduling import Scheduling
    from sandbox_operator.watch.store import Store
    from sandbox_operator.watch.usage import NamespaceUsage
    from sandbox_operator.watch.work_queue import Key

_LOG: Final = logging.getLogger(__name__)
_MAX_FIRST_DELAY: Final = 300.0
"""Seconds after the operator's start within which it asks every agent, if storage credentials expire. Only the agents
know when that is."""
_MAX_ROUNDS: Final = 4
"""Observations in a row. After them the session goes to the end of the queue."""


class SessionReconciler:
    """Brings one session one or several steps closer to its desired state."""

    def __init__(
        self,
        api: KubeApi,
        store: Store,
        observer: Observer,
        applier: Applier,
        timing: Timing,
        scheduling: Scheduling,
        metrics: Metrics,
        usage: NamespaceUsage,
    ) -> None:
        self._api, self._store, self._observer, self._applier = api, store, observer, applier
        self._timing, self._metrics, self._clock, self._usage = timing, metrics, scheduling.clock, usage
        self._requeue, self._acknowledge = scheduling.requeue, scheduling.acknowledge
        self._calls: dict[Key, int] = {}
        self._seen: set[Key] = set()
        self._refusals: dict[Key, Refusal] = {}

    def reset(self) -> None:
        """Forget which sessions were reconciled, because a replica that becomes the leader may have stale knowledge."""
        self._seen.clear()
        self._usage.reset()

    async def reconcile(self, key: Key) -> None:
        """Reconcile one session. If it was deleted, forget it."""
        source = ""
        with self._metrics.tally_calls() as tally:
            try:
                with contextlib.ExitStack() as spans:
                    source = await self._reconcile(key, spans)
            finally:
                if key in self._calls:
                    self._calls[key] += tally[0]
        if source and key in self._calls:
            self._metrics.start_calls.labels(source).observe(self._calls.pop(key))

    async def _reconcile(self, key: Key, spans: contextlib.ExitStack) -> str:
        """Reconcile one session. Return "Warm" or "Cold" if it has just become ready, else ""."""
        for _ in range(_MAX_ROUNDS):
            # Most repetitions are due to events of our own writes, which arrive before the writes' answers.
            self._acknowledge(key)
            raw = find_session(self._store, key)
            if raw is None:
                self._calls.pop(key, None)
                self._refusals.pop(key, None)
                self._seen.discard(key)
                self._usage.release(key)
                self._usage.stop_waiting(key)
                await self._observer.release(key)
                return ""
            try:
                session = parse(Session, raw)
            except SpecError as error:
                await self._refuse(key, raw, error)
                return ""
            if self._defer_first(key, session):
                return ""
            observation, plan, observe_again = await self._step(key, session, spans)
            if not observe_again:
                break
        else:
            self._requeue(key, 0.0)
        return await self._finish(key, observation, plan)

    def _defer_first(self, key: Key, session: Session) -> bool:
        """Return True if the first reconcile since this process started may come later, and schedule it."""
        if key in self._seen:
            return False
        self._seen.add(key)
        pods = self._store.pods_of(session.metadata.namespace, session.metadata.uid)
        if len(pods) != 1 or not is_undisturbed(session, pods[0]):
            return False
        expires, active = (parse_time(session.status.get(name)) for name in ("expiresAt", "lastActiveAt"))
        idle = session.spec.lifecycle.idle_timeout
        times = [expires, active + idle if active and idle else None]
        deadlines = [(moment - self._clock()).total_seconds() for moment in times if moment]
        interval = choose_interval(self._store.count(SESSIONS))
        if self._timing.credentials is not None:
            interval = min(_MAX_FIRST_DELAY, interval)
        self._requeue(key, max(0.0, min([random.uniform(0, interval), *deadlines])))  # noqa: S311 - not a secret
        return True

    async def _step(self, key: Key, session: Session, spans: contextlib.ExitStack) -> tuple[Observation, Plan, bool]:
        observation = await self._observer.observe(key, session)
        now = self._clock()
        plan = plan_session(observation, now, self._timing)
        refusal = self._refusals.get(key)
        if refusal is not None and plan.actions and refusal.is_waiting(observation, plan, now):
            return observation, plan_blocked(observation, refusal.as_blocked(now), now), False
        self._note_actions(key, plan)
        self._note_need(key, observation, plan)
        # Rounds without actions are frequent and not worth a span.
        if plan.actions and not tracing.is_within():
            spans.enter_context(tracing.span("sandbox.reconcile", {"sandbox.session": "/".join(key[1:])}))
        try:
            observe_again = await self._applier.apply(key, observation, plan.actions)
        except Blocked as blocked:
            self._usage.release(key)
            self._refusals[key] = refusal = refuse(refusal, blocked, observation, plan, now)
            return observation, plan_blocked(observation, refusal.as_blocked(now), now), False
        # After any other error the pod may exist. What is reserved for it stays until the session is observed again.
        self._usage.release(key)
        if plan.actions:
            self._refusals.pop(key, None)
        if any(isinstance(action, model.BindAgent) for action in plan.actions):
            self._observer.note_bound(key)
        return observation, plan, observe_again

    def _note_need(self, key: Key, observation: Observation, plan: Plan) -> None:
        """Reserve what a start needs, before anything is awaited. Other sessions see it at once."""
        starts = any(isinstance(action, model.CreatePod | model.ClaimPod) for action in plan.actions)
        if starts and observation.need is not None:
            self._usage.reserve(key, observation.need)
            return
        self._usage.release(key)
        reasons = {each.get("reason") for each in plan.status.get("conditions") or []}
        if observation.limit_exceeded and "NamespaceLimitReached" in reasons:
            self._usage.wait(key, self._clock())
        else:
            self._usage.stop_waiting(key)

    def _note_actions(self, key: Key, plan: Plan) -> None:
        for action in plan.actions:
            if isinstance(action, model.CreatePod | model.ClaimPod):
                self._observer.note_start(key)
                self._calls.setdefault(key, 0)
            elif isinstance(action, model.BindAgent):
                self._observer.note_bind(key)
            elif isinstance(action, model.DeletePod):
                self._observer.forget(key)
                if action.grace:
                    self._observer.note_shortened(key, action.uid, self._clock())

    async def _finish(self, key: Key, observation: Observation, plan: Plan) -> str:
        source = ""
        if any(isinstance(action, model.DeleteSession) for action in plan.actions):
            return source
        await self._write_status(key, observation.session.metadata, observation.session.status, plan.status)
        if plan.status.get("phase") == "Ready":
            source = self._observe_start(key, observation, plan)
        seconds = choose_interval(self._store.count(SESSIONS)) * random.uniform(0.75, 1.25)  # noqa: S311 - not a secret
        if plan.requeue_at:
            seconds = max(0.0, min(seconds, (plan.requeue_at - self._clock()).total_seconds()))
        deleted = [action.name for action in plan.actions if isinstance(action, model.DeletePod)]
        if any(self._store.get(PODS, (key[1], name)) is None for name in deleted):
            # The pod is gone already. The event of its deletion finds nothing to remove, and so enqueues nothing.
            seconds = 0.0
        self._requeue(key, seconds)
        return source

    def _observe_start(self, key: Key, observation: Observation, plan: Plan) -> str:
        startup, source = plan.status.get("startup") or {}, ""
        if startup and startup != observation.session.status.get("startup"):
            source = str(startup["source"])
            self._metrics.start_seconds.labels(startup["source"]).observe(startup["milliseconds"] / 1000)
            _LOG.info(
                "the session is ready", extra={"session": "/".join(key[1:]), "milliseconds": startup["milliseconds"]}
            )
        self._observer.note_ready(key)
        return source

    async def _write_status(self, key: Key, metadata: Any, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        patch = build_patch(old, new)
        if not patch:
            return
        # With the uid, the API server refuses the write if another session has taken the name meanwhile.
        body = {"metadata": {"uid": metadata.uid}, "status": patch}
        try:
            answer = await self._api.patch(SESSIONS, key[1], key[2], body, subresource="status")
        except NotFoundError:
            # It was deleted. The event that reports it may be late, or was missed.
            self._store.mark_deleted(SESSIONS, (key[1], key[2]), metadata.uid)
            return
        self._store.put(SESSIONS, answer)
        if answer["metadata"].get("generation", metadata.generation) != metadata.generation:
            # The user has changed the session meanwhile. The store has that version now: its event tells nothing new.
            self._requeue(key, 0.0)

    async def _refuse(self, key: Key, raw: Mapping[str, Any], error: SpecError) -> None:
        """Mark a session as Failed because it cannot be parsed, and end its pod in time.

        It was stored under an older CRD, or has a value that the CRD cannot refuse.
        """
        _LOG.warning("the session is invalid: %s", error, extra={"session": "/".join(key[1:])})
        self._usage.release(key)
        self._usage.stop_waiting(key)
        spec = {} if error.field.startswith("spec.templateRef") else {"templateRef": raw["spec"].get("templateRef")}
        bare = parse(Session, {"metadata": raw["metadata"], "spec": spec, "status": raw.get("status") or {}})
        observation = replace(await self._observer.observe(key, bare), spec_problem=str(error))
        plan = plan_invalid(observation, self._clock(), self._timing)
        self._note_actions(key, plan)
        await self._applier.apply(key, observation, plan.actions)
        try:
            await self._finish(key, observation, plan)
        except InvalidError as refused:
            # Before Kubernetes 1.33 not even the status of such an object can be written.
            _LOG.warning("its status cannot be written: %s", refused, extra={"session": "/".join(key[1:])})
            moment = plan.requeue_at or self._clock() + timedelta(seconds=_MAX_FIRST_DELAY)
            self._requeue(key, max(0.0, (moment - self._clock()).total_seconds()))
