"""Plain frozen data of a session: the observation, the possible actions, and the plan."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sandbox_operator.agent.model import AgentAddress, AgentView
    from sandbox_operator.api.models import Session, Template
    from sandbox_operator.api.session_spec import Egress, Resources
    from sandbox_operator.manifests.needs import Need


@dataclass(frozen=True, slots=True)
class PodState:
    """A session's pod as the API server shows it."""

    name: str
    uid: str
    created: datetime
    """Time at which the pod was created for the session, or claimed by it."""
    made: datetime | None = None
    """Time at which the API server stored the pod. Only `created` can be forged."""
    deleted: datetime | None = None
    """Time by which its deletion should have finished. None if it is not being deleted."""
    ip: str = ""
    phase: str = "Pending"
    is_agent_running: bool = False
    has_started: bool = False
    """True if any of its containers ever ran."""
    agent_restarts: int = 0
    is_scheduled: bool = False
    problem: tuple[str, str] | None = None
    """Reason and message of the problem that keeps it from starting."""
    end: str = ""
    """Why it ended by itself; "" if it did not, or if Kubernetes gives no reason."""
    is_from_pool: bool = False
    memory_bytes: int = 0
    """Memory limit of the sandbox container; 0 for none."""

    @property
    def has_ended(self) -> bool:
        """True if the pod ended by itself and will never serve again."""
        return self.phase in {"Failed", "Succeeded"}


@dataclass(frozen=True, slots=True)
class DrainState:
    """A Drain call that this process made."""

    pod_uid: str
    is_running: bool
    error: str = ""
    ended: datetime | None = None

    @property
    def reason(self) -> str:
        """Return the condition's reason for its error."""
        return "FilesNotSaved" if self.error.startswith("FILES_NOT_SAVED:") else "PushFailed"


@dataclass(frozen=True, slots=True)
class RenewalState:
    """A renewal of storage credentials by this process. The latest error stays until a renewal succeeds."""

    pod_uid: str
    is_running: bool = False
    failures: int = 0
    """Failures in a row."""
    error: str = ""
    ended: datetime | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything that a plan is made from."""

    session: Session
    spec_problem: str = ""
    """The session's error if its spec cannot be read. It has the defaults then."""
    template_name: str = ""
    template: Template | None = None
    template_problem: str = ""
    pod: PodState | None = None
    shortened: datetime | None = None
    """When this process gave the pod's deletion, which a tenant had made a long one, the usual grace period."""
    extra_pods: tuple[PodState, ...] = ()
    """Other pods of the session, which a former leader claimed late."""
    unproven_pods: tuple[PodState, ...] = ()
    """Pods that claim to be the session's, but that the operator did not create."""
    is_unsigned: bool = False
    """True if an earlier version of the operator created the session's pod, or this process could not sign it yet."""
    warm_pods: int = 0
    """Number of blank pods of the template that could be claimed."""
    pod_hash: str = ""
    """Label of such pods."""
    is_pod_foreign: bool = False
    """True if a pod of another owner has the name of the session's pod."""
    need: Need | None = None
    """Use that a new pod would add to the namespace. None if the session has a pod, or cannot get one."""
    limit_exceeded: str = ""
    """The limit of its namespace that leaves no room for it, or ""."""
    waits_since: datetime | None = None
    """When this process first found no room for it. None if it has not since the session wants to start."""
    address: AgentAddress | None = None
    agent: AgentView | None = None
    agent_problem: str = ""
    drain: DrainState | None = None
    has_storage: bool = False
    """True if a bucket is configured."""
    renewal: RenewalState | None = None
    workspace_holder: str = ""
    """Name of another session that is using this session's workspace, or ""."""
    had_pod: bool = False
    """True if the session had a pod according to its status."""
    seconds_since_bind: float | None = None
    """Seconds since this process last called Bind. None if it has not."""
    recent_binds: int = 0
    """Binds of this process that an agent accepted in the last ten seconds."""
    start_seconds: float | None = None
    """Seconds that the start has taken so far. None if it began before this process."""


@dataclass(frozen=True, slots=True)
class ApplyNetworkPolicy:
    """Create or update the NetworkPolicy for a template and egress."""

    egress: Egress


@dataclass(frozen=True, slots=True)
class CreateTlsSecret:
    """Create a new certificate for the next pod."""


@dataclass(frozen=True, slots=True)
class CreatePod:
    """Create the session's pod."""

    egress: Egress
    resources: Resources


@dataclass(frozen=True, slots=True)
class AdoptPod:
    """Sign a pod that an earlier version of the operator created, or that could not be signed before."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class ClaimPod:
    """Claim a blank pod of a pool for the session, if one is still available."""

    egress: Egress
    pod_hash: str


@dataclass(frozen=True, slots=True)
class EnsureAccessSecret:
    """Create or update the Secret that gives clients the token and the pod's address."""

    endpoint: str
    server_name: str
    pod_name: str


@dataclass(frozen=True, slots=True)
class BindAgent:
    """Give the blank agent this session."""

    egress: Egress
    lifetime: float
    """Seconds after which the agent stops by itself."""
    memory_bytes: int
    """Memory limit of the pod's sandbox container; 0 for none."""


@dataclass(frozen=True, slots=True)
class DrainAgent:
    """Start a Drain. When it ends, the session is reconciled again."""

    pod_uid: str
    seconds: float
    """The most that it may take."""
    require_all: bool = False
    """It fails if a file could not be saved."""


@dataclass(frozen=True, slots=True)
class RenewCredentials:
    """Start a renewal of the agent's storage credentials. When it ends, the session is reconciled again."""

    pod_uid: str


@dataclass(frozen=True, slots=True)
class SetLifetime:
    """Move the time at which the agent stops by itself. A failure changes nothing: the next reconcile tries again."""

    remaining: float
    """Seconds from now, at least 0."""


@dataclass(frozen=True, slots=True)
class DeletePod:
    """Delete the pod with this uid."""

    name: str
    uid: str
    grace: int | None = None
    """Seconds until its containers are killed. None: the pod's own grace period. 0: forget it, its node may be lost."""


@dataclass(frozen=True, slots=True)
class SuspendSession:
    """Set `spec.suspended`, and record why in an annotation."""

    reason: str


@dataclass(frozen=True, slots=True)
class DeleteSession:
    """Delete the session itself."""


@dataclass(frozen=True, slots=True)
class EmitEvent:
    """Record a Kubernetes Event, which `kubectl describe` shows."""

    reason: str
    message: str
    warning: bool = False


Action = (
    ApplyNetworkPolicy
    | CreateTlsSecret
    | CreatePod
    | AdoptPod
    | ClaimPod
    | EnsureAccessSecret
    | BindAgent
    | DrainAgent
    | RenewCredentials
    | SetLifetime
    | DeletePod
    | SuspendSession
    | DeleteSession
    | EmitEvent
)


@dataclass(frozen=True, slots=True)
class Plan:
    """The actions, in order, and the session's status after them."""

    actions: tuple[Action, ...] = ()
    status: Mapping[str, Any] = field(default_factory=dict)
    requeue_at: datetime | None = None
    """Time of the next reconcile at the latest. None leaves it to the periodic resync."""
