"""Decides until when a session may take to end. Pure.

Storage that is down, an agent that hangs, or a hostile runtime must not keep a session's processes alive. So every end
has a time at which the pod is deleted whatever has been saved.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sandbox_operator.api.template_spec import DEFAULT_END_DEADLINE
from sandbox_operator.api.values import parse_time
from sandbox_operator.session.status import ending_since, expiry_of

if TYPE_CHECKING:
    from datetime import datetime

    from sandbox_operator.session.model import Observation, PodState

_POD_SECONDS: Final = timedelta(seconds=35)
"""Time from a pod's deletion until the kubelet has killed its containers: the grace period, and some reserve."""


def end_deadline(observation: Observation) -> timedelta:
    """Return how long the end of the session may take."""
    template = observation.template
    return template.spec.lifecycle.end_deadline if template else DEFAULT_END_DEADLINE


def stays_with_unsaved(observation: Observation) -> bool:
    """Return True if a suspend that cannot save every file leaves the session running."""
    template = observation.template
    return template is None or template.spec.lifecycle.on_unsaved_files == "Stay"


def stop_time(observation: Observation, pod: PodState) -> datetime:
    """Return when the pod is deleted if the session has not ended by then.

    That is early enough for its containers to be killed within the deadline.
    """
    deadline = end_deadline(observation)
    wait = max(deadline - _POD_SECONDS, deadline / 2)
    since = ending_since(observation.session.status)
    end = expiry_of(observation, pod)
    if since is not None and observation.session.spec.suspended and not stays_with_unsaved(observation):
        end = min(end, since)
    return end + wait


def with_known_start(observation: Observation, now: datetime) -> Observation:
    """Return the observation with the time at which the session's pod became its own, as the status recorded it.

    A tenant who may edit pods can change the annotation with that time, and so the session's lifetime.
    """
    pod, status = observation.pod, observation.session.status
    if pod is None:
        return observation
    created, recorded = min(pod.created, now), parse_time(status.get("startedAt"))
    if pod.made is not None:
        created = max(created, pod.made)
    # A later pod of the same name is younger than what the status says about the one before.
    is_same = status.get("podName") == pod.name and recorded is not None and (pod.made is None or recorded >= pod.made)
    if is_same and recorded is not None:
        created = min(created, recorded)
    return observation if created == pod.created else replace(observation, pod=replace(pod, created=created))
