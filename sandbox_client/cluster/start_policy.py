"""Decides how long to wait for a session that does not become Ready, and says why it does not. Pure: no I/O.

The operator reports a problem as the reason of the condition Ready, and retries. Waiting helps with some problems. With
others it only delays the error. A problem has to last for some seconds before it ends the wait, because several of them
appear for a moment while a session starts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sandbox_client.errors import SessionFailed
from sandbox_client.lifecycle.session_info import ready_condition

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

UNSCHEDULABLE: Final = "Unschedulable"
_QUOTA: Final = "Ask for less, delete sessions that are not needed, or have the quota or policy changed."
_HOPELESS: Final[Mapping[str, tuple[float, str]]] = {
    "TemplateNotFound": (3, "Name a SandboxTemplate of this namespace, or create this one."),
    "TemplateInvalid": (3, "Correct the SandboxTemplate, or name another one."),
    "SecretKeyNotFound": (3, "Create the Secret or key, or leave the variable out."),
    "PodNameTaken": (5, "Delete that pod, or give the session another name."),
    "SecretNameTaken": (5, "Delete that Secret, or give the session another name."),
    "PodRefused": (5, _QUOTA),
    "StorageCredentialsMissing": (10, "Give the operator credentials for object storage."),
    "BindFailed": (15, "Read the agent's log: `sandbox logs`."),
    "ImagePullFailed": (20, "Correct the image's name in the SandboxTemplate, or give it a pull secret."),
    "ContainerFailed": (20, "Read the containers' log: `sandbox logs`."),
    UNSCHEDULABLE: (20, "Ask for less, or add a node with room."),
    "Expired": (3, "Resume it with a new end: `sandbox resume NAME --expires 1h`, or resume(expires=...)."),
}
"""Seconds for which a problem may last, and advice. Waiting helps with every other reason."""
_IS_FINAL: Final = ("InvalidImageName", "ErrImageNeverPull")
"""Words in a message that show that the kubelet does not try again."""
_FINAL_SECONDS: Final = 3.0
_QUIET: Final = frozenset({
    "", "Ready", "Creating", "Starting", "Connecting", "Binding", "Restoring", "PodEnding", "Suspending", "Suspended",
    "Terminating",
})  # fmt: skip
"""Reasons that say no more than the phase."""


class StartWatch:
    """Follows one session while a client waits for it. Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._reason = ""
        self._since = 0.0
        self._excused: set[str] = set()

    def give_up_at(self, session: Mapping[str, Any], now: float) -> float | None:
        """Return when waiting for this session has no more purpose, or None if waiting may help.

        Args:
            session: The custom resource.
            now: The current time.
        """
        reason = problem_of(session)
        if reason != self._reason:
            self._reason, self._since = reason, now
        if reason not in _HOPELESS or reason in self._excused:
            return None
        seconds, _ = _HOPELESS[reason]
        if any(word in str(ready_condition(session).get("message")) for word in _IS_FINAL):
            seconds = min(seconds, _FINAL_SECONDS)
        return self._since + seconds

    def excuse(self, reason: str) -> None:
        """Let this problem last as long as the caller waits."""
        self._excused.add(reason)


def problem_of(session: Mapping[str, Any]) -> str:
    """Return the reason why a session is not Ready, or "" if its status is older than its spec."""
    seen, generation = (
        (session.get("status") or {}).get("observedGeneration"),
        (session.get("metadata") or {}).get("generation"),
    )
    if seen is not None and generation is not None and seen < generation:
        return ""
    return str(ready_condition(session).get("reason") or "")


def not_ready(name: str, session: Mapping[str, Any], timeout: float, *, is_hopeless: bool) -> SessionFailed:
    """Return the error for a session that did not become Ready, with what to do about it.

    Args:
        name: The session's name.
        session: The custom resource.
        timeout: Seconds that the caller wanted to wait.
        is_hopeless: Whether waiting would not have helped.
    """
    what = "is not ready" if is_hopeless else f"was not ready within {timeout:g} s"
    return SessionFailed(f"session {name} {what}: {describe_with_advice(name, session)}", reason="NOT_READY")


def describe_with_advice(name: str, session: Mapping[str, Any]) -> str:
    """Return why a session is not Ready, and what to do about it.

    Args:
        name: The session's name.
        session: The custom resource.
    """
    advice = _HOPELESS.get(problem_of(session), (0.0, ""))[1].replace("NAME", name)
    if not (session.get("status") or {}).get("phase"):
        advice = "Check that the operator runs, and serves this namespace."
    return f"{describe_failure(session)}. {advice}".strip()


def describe_progress(session: Mapping[str, Any]) -> str:
    """Return a line for people who wait: the phase, and the problem if there is one.

    Args:
        session: The custom resource.
    """
    phase = (session.get("status") or {}).get("phase") or ""
    ready = ready_condition(session)
    reason, message = str(ready.get("reason") or ""), str(ready.get("message") or "")
    if not phase or reason in _QUIET:
        return phase
    return ": ".join(part for part in (phase, reason, message) if part)


def describe_failure(session: Mapping[str, Any]) -> str:
    """Return one line that says why a session is not Ready, from its phase and conditions."""
    status = session.get("status") or {}
    bad = [each for each in status.get("conditions") or () if each.get("status") != "True"]
    # A condition without a message only repeats what the others say.
    chosen = [each for each in bad if each.get("message")] or [each for each in bad if each.get("reason")]
    lines: dict[str, str] = {}
    for each in chosen:
        text = f"{each.get('reason', '')} {each.get('message', '')}".strip()
        lines.setdefault(text, f"{each.get('type')}: {text}")
    phase = status.get("phase") or "not seen by the operator yet"
    return f"it is {phase}" + (f" ({'; '.join(lines.values())})" if lines else "")


def describe_limits(session: Mapping[str, Any]) -> str:
    """Return how the operator changed what the session asked for, or "" if it did not."""
    conditions = (session.get("status") or {}).get("conditions") or ()
    effective: Mapping[str, Any] = next((each for each in conditions if each.get("type") == "LifecycleEffective"), {})
    return str(effective.get("message") or "") if effective.get("status") == "False" else ""
