"""When a session is looked at again though nothing was heard of it. Pure.

Events bring every change of an object. What no event brings is what the agent alone knows: its last activity, whether
files are saved. It is asked once in a while, less often the more sessions there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sandbox_operator.api.values import parse_time
from sandbox_operator.pool.available_pods import is_ready
from sandbox_operator.session.status import endpoint_of, ready_since

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_operator.api.models import Session

_SHORTEST: Final = 60.0
_LONGEST: Final = 1800.0
_A_SECOND: Final = 3.0
"""Sessions that are asked in a second: each is a connection and some milliseconds of a processor."""


def choose_interval(sessions: int) -> float:
    """Seconds between two looks at a session, where there are so many."""
    return min(_LONGEST, max(_SHORTEST, sessions / _A_SECOND))


def is_undisturbed(session: Session, pod: Mapping[str, Any] | None) -> bool:
    """Whether a session is as its status says, for all that the API server knows; then its agent need not be asked now.

    For an operator that has just started, and would otherwise ask all agents at once.
    """
    status, metadata = session.status, session.metadata
    if pod is None or not is_ready(pod) or metadata.deletion_timestamp or session.spec.suspended:
        return False
    since = ready_since(status)
    agrees = (
        status.get("phase") == "Ready"
        and status.get("observedGeneration") == metadata.generation
        and status.get("podName") == pod["metadata"]["name"]
        and status.get("endpoint") == endpoint_of(str(pod["status"]["podIP"]))
    )
    started = [_running_since(each) for each in pod["status"].get("containerStatuses") or []]
    return bool(agrees and since and started and all(moment and moment <= since for moment in started))


def _running_since(container: Mapping[str, Any]) -> Any:
    return parse_time(((container.get("state") or {}).get("running") or {}).get("startedAt"))
