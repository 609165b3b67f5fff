"""What `observe` sees, what `plan` wants done, and what it says of the session. Plain frozen data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sandbox_operator.agent.client import AgentAddress, AgentView
    from sandbox_operator.api.models import Egress, Resources, Session, Template


@dataclass(frozen=True, slots=True)
class PodView:
    """A session's pod as the API server shows it."""

    name: str
    uid: str
    created: datetime
    """When it became the session's: was made for it, or claimed by it."""
    deleted: datetime | None = None
    """Until when it may take to end; None: it is not being deleted."""
    ip: str = ""
    phase: str = "Pending"
    is_agent_running: bool = False
    has_started: bool = False
    """A container of it ran at some time."""
    agent_restarts: int = 0
    is_scheduled: bool = False
    problem: tuple[str, str] | None = None
    """Reason and message of what keeps it from starting."""
    end: str = ""
    """Why it ended, where it did."""
    is_from_pool: bool = False
    memory_bytes: int = 0
    """What the sandbox container may use; 0: no limit."""

    @property
    def has_ended(self) -> bool:
        """It will never serve again."""
        return self.phase in {"Failed", "Succeeded"}


@dataclass(frozen=True, slots=True)
class DrainView:
    """A Drain call that this process started."""

    pod_uid: str
    is_running: bool
    error: str = ""
    ended: datetime | None = None


@dataclass(frozen=True, slots=True)
class RenewalView:
    """A renewal of storage credentials that this process started; the last one's error is told until one works."""

    pod_uid: str
    is_running: bool = False
    failures: int = 0
    """In a row."""
    error: str = ""
    ended: datetime | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """All that a plan is made from."""

    session: Session
    template: Template | None = None
    template_problem: str = ""
    pod: PodView | None = None
    extra_pods: tuple[PodView, ...] = ()
    """Pods of the session beside `pod`: a claim of a former leader that came late."""
    warm_pods: int = 0
    """Blank pods of the template that could be claimed."""
    pod_hash: str = ""
    """What such pods are labelled with."""
    is_pod_foreign: bool = False
    """Something else has the pod's name."""
    address: AgentAddress | None = None
    agent: AgentView | None = None
    agent_problem: str = ""
    drain: DrainView | None = None
    has_storage: bool = False
    """There is a bucket."""
    renewal: RenewalView | None = None
    workspace_holder: str = ""
    """Another session that has this session's workspace."""
    had_pod: bool = False
    """The status says that a pod was there."""
    seconds_since_bind: float | None = None
    """Since this process last called Bind."""
    start_seconds: float | None = None
    """How long the start has taken so far; None: this process did not see it begin."""


@dataclass(frozen=True, slots=True)
class ApplyNetworkPolicy:
    """Make sure of the policy for a template and egress."""

    egress: Egress


@dataclass(frozen=True, slots=True)
class CreateTlsSecret:
    """A fresh certificate for the pod that comes next."""


@dataclass(frozen=True, slots=True)
class CreatePod:
    """Create the session's pod."""

    egress: Egress
    resources: Resources


@dataclass(frozen=True, slots=True)
class ClaimPod:
    """Make a pool's blank pod the session's, if there still is one."""

    egress: Egress
    pod_hash: str


@dataclass(frozen=True, slots=True)
class EnsureAccessSecret:
    """Token, and the pod's address, for clients."""

    endpoint: str
    server_name: str
    pod_name: str


@dataclass(frozen=True, slots=True)
class BindAgent:
    """Give the blank agent this session."""

    egress: Egress
    lifetime: float
    """Seconds until the agent stops by itself."""
    memory_bytes: int
    """The sandbox container's limit, as the pod has it; 0: none."""


@dataclass(frozen=True, slots=True)
class DrainAgent:
    """Start a Drain; its end brings the session back."""

    pod_uid: str


@dataclass(frozen=True, slots=True)
class RenewCredentials:
    """Start a renewal of the agent's storage credentials; its end brings the session back."""

    pod_uid: str


@dataclass(frozen=True, slots=True)
class DeletePod:
    """Delete this very pod."""

    name: str
    uid: str
    force: bool = False


@dataclass(frozen=True, slots=True)
class SuspendSession:
    """Set `spec.suspended`, remembering why."""

    reason: str


@dataclass(frozen=True, slots=True)
class DeleteSession:
    """Delete the session itself."""


@dataclass(frozen=True, slots=True)
class EmitEvent:
    """Tell whoever runs `kubectl describe`."""

    reason: str
    message: str
    warning: bool = False


Action = (
    ApplyNetworkPolicy
    | CreateTlsSecret
    | CreatePod
    | ClaimPod
    | EnsureAccessSecret
    | BindAgent
    | DrainAgent
    | RenewCredentials
    | DeletePod
    | SuspendSession
    | DeleteSession
    | EmitEvent
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, in this order, and what the session's status is once it is done."""

    actions: tuple[Action, ...] = ()
    status: Mapping[str, Any] = field(default_factory=dict)
    requeue_at: datetime | None = None
