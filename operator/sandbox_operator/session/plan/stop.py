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
from sandbox_operator.manifests.pod import TERMINATION_GRACE
from sandbox_operator.session.status import ending_since, expiry_of

if TYPE_CHECKING:
    from datetime import datetime

    from sandbox_operator.session.model import Observation, PodState

MAX_GRACE: Final = timedelta(seconds=2 * TERMINATION_GRACE)
"""Longest time until a pod's containers are killed that is left alone. The clocks of both servers may differ."""
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


def lives_on(pod: PodState, now: datetime) -> bool:
    """Return True if a pod is not being deleted, or so slowly that its code could go on for long.

    A tenant who may delete pods chooses the time that they get.
    """
    return pod.deleted is None or pod.deleted > now + MAX_GRACE


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
    created, recorded = pod.created, parse_time(status.get("startedAt"))
    if pod.made is not None:
        created = max(created, pod.made)
    # The API server's clock may be ahead.
    created = min(created, now)
    if "podUid" in status:
        is_same = status["podUid"] == pod.uid
    else:
        # Written by an earlier version. A later pod of the same name is younger than what it says.
        is_younger = recorded is not None and pod.made is not None and recorded < pod.made
        is_same = status.get("podName") == pod.name and not is_younger
    if is_same and recorded is not None:
        created = min(created, recorded)
    return observation if created == pod.created else replace(observation, pod=replace(pod, created=created))
