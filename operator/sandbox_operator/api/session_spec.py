"""The spec of a SandboxSession, with the descriptions, bounds and rules that its CRD has. Pure."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Final

from pydantic import ConfigDict, Field

from sandbox_operator.api.base import Model, Schema, map_by, one_of, rule, text
from sandbox_operator.api.quantities import Amounts, Limits  # noqa: TC001 - pydantic evaluates them
from sandbox_operator.api.values import (  # noqa: TC001 - pydantic evaluates them
    Duration,
    EnvName,
    Moment,
    Name,
    ObjectName,
    SecretKey,
)

ENV_ITEMS: Final[Schema] = {"maxItems": 256}


class Egress(StrEnum):
    """Addresses that user code may connect to."""

    NONE = "None"
    ALLOWLIST = "Allowlist"
    PUBLIC = "Public"

    def is_wider_than(self, other: Egress) -> bool:
        """Return True if this allows more than `other`."""
        order = list(Egress)
        return order.index(self) > order.index(other)


class EndAction(StrEnum):
    """Action at the end of a session's time."""

    SUSPEND = "Suspend"
    DELETE = "Delete"


class NameRef(Model):
    """A reference to an object in the same namespace."""

    name: Name = Field(default="default", description="Name of the object.")


class SecretKeyRef(Model):
    """A key of a Secret in the same namespace."""

    name: ObjectName = Field(description="Name of the Secret.")
    key: SecretKey = Field(description="Key in the Secret.")


class PlainEnvVar(Model):
    """An environment variable for user code."""

    name: EnvName = Field(description="Name of the variable. Names that begin with SANDBOX_ are reserved.")
    value: Annotated[str, text(32768)] = Field(default="", description="Value of the variable.")


class EnvVar(PlainEnvVar):
    """An environment variable for user code. Its value is given here or comes from a Secret."""

    model_config = ConfigDict(
        json_schema_extra=rule("!(has(self.value) && has(self.secretKeyRef))", "set value or secretKeyRef, not both")
    )

    secret_key_ref: SecretKeyRef | None = Field(default=None, description="Key of a Secret that holds the value.")


class Resources(Model):
    """Requests and limits of the container in which user code runs."""

    requests: Amounts = Field(default={}, description="Resources that the scheduler reserves for the container.")
    limits: Limits = Field(default={}, description="The most that the container may use.")


class Workspace(Model):
    """The session's files, which are kept in object storage."""

    model_config = ConfigDict(
        json_schema_extra=rule(
            "has(self.name) == has(oldSelf.name) && (!has(self.name) || self.name == oldSelf.name)",
            "workspace.name is immutable; create another session",
        )
    )

    name: Name = Field(
        default="",
        description=(
            "Name of the workspace. Sessions with the same workspace see the same files, one session after the other."
            " Defaults to the session's name. Immutable."
        ),
    )
    sync: Annotated[str, one_of("Manual", "OnChange")] = Field(
        default="Manual", description="OnChange: changes are saved automatically. Manual: only by a push or a suspend."
    )
    exclude: tuple[Annotated[str, text(1024)], ...] = Field(
        default=(), description="Glob patterns of files that a push of the whole workspace leaves out."
    )


class Lifecycle(Model):
    """Times at which the operator suspends or deletes the session. The earliest one counts."""

    idle_timeout: Duration | None = Field(
        default=timedelta(minutes=15), description="Time without use until `onIdle` happens, such as 90s or 15m."
    )
    max_lifetime: Duration | None = Field(
        default=None,
        description=(
            "Longest time from the creation or claim of a pod until `onExpiry` happens. A session that resumes gets a"
            " new pod. Defaults to 8h, or to the template's `lifecycle.maxLifetime` if that is shorter."
        ),
    )
    expires_at: Moment | None = Field(
        default=None,
        description=(
            "Time at which `onExpiry` happens, such as 2030-01-31T18:00:00Z. It may be moved while the session runs."
            " A suspended session keeps it, and does not resume after it."
        ),
    )
    on_idle: EndAction = Field(default=EndAction.SUSPEND, description="Action after `idleTimeout`.")
    on_expiry: EndAction = Field(
        default=EndAction.SUSPEND, description="Action after `maxLifetime`, and at `expiresAt`."
    )
    ttl_after_suspended: Duration | None = Field(
        default=None,
        description=(
            "Time after which a suspended session is deleted. Its files stay in storage. Without it, a session whose"
            " name was generated (`metadata.generateName`) is deleted after the operator's own time, and others never."
        ),
    )
    ttl_after_finished: Duration | None = Field(
        default=None, description="Time after which a session that failed, or was suspended at expiry, is deleted."
    )
    keep_variables: bool = Field(
        default=False,
        description=(
            "Save Python variables with the files at each suspend, and restore them when the session resumes."
            " Best effort: only variables that can be pickled, at most 64 MiB."
            " A change takes effect at the session's next start."
        ),
    )


class SessionSpec(Model):
    """Desired state of the session."""

    template_ref: NameRef = Field(
        default=NameRef(name=""),
        description="The SandboxTemplate, in the same namespace. Immutable.",
        json_schema_extra=rule("self == oldSelf", "templateRef is immutable; create another session"),
    )
    env: tuple[EnvVar, ...] = Field(
        default=(),
        description="Environment variables of user code. A change takes effect at the session's next start.",
        json_schema_extra={**ENV_ITEMS, **map_by("name")},
    )
    resources: Resources = Resources()
    workspace: Workspace = Workspace()
    lifecycle: Lifecycle = Lifecycle()
    suspended: bool = Field(
        default=False, description="True: save the files and delete the pod. False: start again from those files."
    )
    egress: Egress | None = Field(
        default=None,
        description="Addresses that user code may connect to. At most those of the template, which are the default.",
    )
