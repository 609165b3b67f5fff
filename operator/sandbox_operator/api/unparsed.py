"""Models of the parts of the resources that the operator handles as plain dicts. Only the CRDs need them. Pure."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic evaluates it
from typing import Annotated, Final, Literal

from pydantic import Field

from sandbox_operator.api.base import Model, Schema, map_by, text

_INT32: Final[Schema] = {"format": "int32"}


class Port(Model):
    """A port, or a range of ports."""

    protocol: Literal["TCP", "UDP", "SCTP"] = Field(default="TCP", description="Protocol of the port.")
    port: int = Field(description="Port, or the first one of a range.", ge=1, le=65535, json_schema_extra=_INT32)
    end_port: int | None = Field(
        default=None, description="Last port of a range.", ge=1, le=65535, json_schema_extra=_INT32
    )


class SelectorExpression(Model):
    """A requirement on one label."""

    key: str = Field(description="Key of the label.")
    operator: Annotated[str, text(32)] = Field(description="In, NotIn, Exists or DoesNotExist.")
    values: tuple[str, ...] = Field(default=(), description="Values to compare with.")


class LabelSelector(Model):
    """A label selector."""

    match_labels: dict[str, str] = Field(default={}, description="Labels that must have these values.")
    match_expressions: tuple[SelectorExpression, ...] = Field(default=(), description="Requirements on labels.")


class Peer(Model):
    """Pods that may connect, as in the `from` of a NetworkPolicy."""

    pod_selector: LabelSelector | None = Field(default=None, description="Labels of the pods.")
    namespace_selector: LabelSelector | None = Field(
        default=None, description="Labels of the pods' namespaces. Defaults to the sessions' own namespace."
    )


class Condition(Model):
    """A condition, as Kubernetes defines it."""

    type: Annotated[str, text(316)] = Field(description="What the condition is about, such as Ready.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: Annotated[str, text(1024)] = Field(description="Reason in CamelCase, for programs.")
    message: Annotated[str, text(32768)] = Field(description="Explanation for people.")
    observed_generation: int | None = Field(
        default=None, description="The metadata.generation that this condition describes."
    )
    last_transition_time: datetime = Field(description="Time at which `status` last changed.")


Conditions = Annotated[tuple[Condition, ...], Field(json_schema_extra={"maxItems": 16, **map_by("type")})]


class WorkspaceStatus(Model):
    """The session's files, as its agent last reported them."""

    generation: int | None = Field(default=None, description="Number of the last saved state.")
    files: int | None = Field(default=None, description="Number of saved files.")
    bytes: int | None = Field(default=None, description="Total size of the saved files in bytes.")
    synced_at: datetime | None = Field(default=None, description="Time of the last save.")
    dirty: bool | None = Field(default=None, description="True if files differ from the saved state.")
    unsaved: tuple[Annotated[str, text(400)], ...] = Field(
        default=(),
        description="Files that could not be saved, and why. The last item may count further ones.",
        json_schema_extra={"maxItems": 16},
    )


class StartupStatus(Model):
    """The session's last start."""

    source: Literal["Warm", "Cold"] | None = Field(
        default=None, description="Warm: the pod came from a warm pool. Cold: it was created for the session."
    )
    milliseconds: int | None = Field(default=None, description="Time until the session was Ready.")


class SessionStatus(Model):
    """State of the session, as the operator last observed it."""

    observed_generation: int | None = Field(
        default=None, description="The metadata.generation that this status describes."
    )
    phase: Literal["Pending", "Starting", "Ready", "Suspending", "Suspended", "Failed", "Terminating"] | None = Field(
        default=None, description="Summary of the state. The condition Ready has the reason."
    )
    conditions: Conditions = Field(default=(), description="The condition Ready says why a session is not ready.")
    endpoint: str | None = Field(
        default=None, description="Address of the agent as host:port. Set while the phase is Ready."
    )
    pod_name: str | None = Field(default=None, description="Name of the session's pod.")
    pod_uid: str | None = Field(default=None, description="uid of that pod, which the operator created.")
    access_secret_name: str | None = Field(
        default=None,
        description="Name of the Secret with what a client needs: token, ca.crt, endpoint, serverName and podName.",
    )
    started_at: datetime | None = Field(
        default=None, description="Time at which the pod was created for the session, or claimed by it."
    )
    last_active_at: datetime | None = Field(
        default=None, description="Time of the last use, accurate to about a minute."
    )
    expires_at: datetime | None = Field(
        default=None, description="Time at which the session expires: the end of maxLifetime, or expiresAt if earlier."
    )
    suspended_at: datetime | None = Field(
        default=None, description="Time at which the session was suspended. Set while the phase is Suspended."
    )
    ending_since: datetime | None = Field(
        default=None, description="Time at which the session began to be suspended. Set while the phase is Suspending."
    )
    workspace: WorkspaceStatus | None = Field(
        default=None, description="The session's files, as its agent last reported them."
    )
    startup: StartupStatus | None = Field(default=None, description="The session's last start.")


class PoolStatus(Model):
    """State of the pool, as the operator last observed it."""

    observed_generation: int | None = Field(
        default=None, description="The metadata.generation that this status describes."
    )
    replicas: int | None = Field(default=None, description="Number of blank pods.", json_schema_extra=_INT32)
    ready_replicas: int | None = Field(
        default=None, description="Number of blank pods that a session can claim now.", json_schema_extra=_INT32
    )
    selector: Annotated[str, text(1024)] | None = Field(
        default=None, description="Label selector of the blank pods, for the scale subresource."
    )
    conditions: Conditions = Field(default=(), description="The condition Ready says why a pool is not filled.")
