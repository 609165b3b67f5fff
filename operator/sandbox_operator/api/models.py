"""The custom resources, parsed. Also the source of their CRDs: descriptions, bounds and rules are here. Pure.

A wrong value that the API server let through raises a SpecError, which names the field.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final, TypeVar

from pydantic import ConfigDict, Field, ValidationError

from sandbox_operator.api.base import OPERATOR_DEFAULT, DescribedBy, Model, Schema, map_by, one_of, rule, text
from sandbox_operator.api.unparsed import Peer, PoolStatus, Port, SessionStatus, Toleration
from sandbox_operator.api.values import Amounts, Duration, EnvName, Name, Quantity  # noqa: TC001 - pydantic evaluates them
from sandbox_operator.errors import SpecError

_ENV_ITEMS: Final[Schema] = {"maxItems": 256}


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

    name: str = Field(description="Name of the Secret.")
    key: str = Field(description="Key in the Secret.")


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
    limits: Amounts = Field(default={}, description="The most that the container may use.")


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
    """Times at which the operator suspends or deletes the session."""

    idle_timeout: Duration | None = Field(
        default=timedelta(minutes=15), description="Time without use until `onIdle` happens, such as 90s or 15m."
    )
    max_lifetime: Duration = Field(
        default=timedelta(hours=8), description="Time from the creation or claim of the pod until `onExpiry` happens."
    )
    on_idle: EndAction = Field(default=EndAction.SUSPEND, description="Action after `idleTimeout`.")
    on_expiry: EndAction = Field(default=EndAction.SUSPEND, description="Action after `maxLifetime`.")
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
        json_schema_extra={**_ENV_ITEMS, **map_by("name")},
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


class EgressRule(Model):
    """Addresses that the mode Allowlist allows."""

    cidr: Annotated[str, text(64)] = Field(description="Address range, such as 203.0.113.0/24.")
    ports: tuple[Annotated[dict[str, Any], DescribedBy(Port)], ...] = Field(
        default=(), description="Allowed ports. All ports if empty."
    )


class TemplateEgress(Model):
    """Addresses that user code may connect to."""

    mode: Egress = Field(
        default=Egress.NONE, description="The widest mode that sessions may ask for, and their default."
    )
    allow: tuple[EgressRule, ...] = Field(
        default=(), description="Addresses for the mode Allowlist. Private and link-local addresses are never allowed."
    )


class TemplateResources(Model):
    """Resources of a session, and the most that it may ask for."""

    default: Resources = Resources(
        requests={"cpu": "100m", "memory": "256Mi"}, limits={"cpu": "1", "memory": "1Gi", "ephemeral-storage": "4Gi"}
    )
    maximum: Amounts | None = Field(
        default=None, description="The most that a session may ask for. If not set, sessions cannot choose resources."
    )


class TemplateEnv(Model):
    """Environment variables of all sessions, and what sessions may add."""

    defaults: tuple[PlainEnvVar, ...] = Field(
        default=(), description="Variables of all sessions. A session may override them.", json_schema_extra=_ENV_ITEMS
    )
    forbidden: tuple[Annotated[str, text(256)], ...] = Field(
        default=(), description="Glob patterns of names that sessions may not set."
    )
    allowed_secrets: Annotated[tuple[str, ...], OPERATOR_DEFAULT] = Field(
        default=("*",),
        description="Glob patterns of Secrets that sessions may refer to. Defaults to all in the namespace.",
    )


class TemplateLimits(Model):
    """Limits that the runtime enforces. The agent's default applies to each one that is not set, or is 0."""

    execution_timeout: Duration | None = Field(default=None, description="Longest time for an execution or a command.")
    output_bytes: Annotated[int, OPERATOR_DEFAULT] = Field(
        default=0, ge=0, description="Bytes of output that are kept of one execution."
    )
    processes: Annotated[int, OPERATOR_DEFAULT] = Field(default=0, ge=0, description="Number of processes.")
    file_bytes: Annotated[int, OPERATOR_DEFAULT] = Field(default=0, ge=0, description="Size of one file in bytes.")


class Volumes(Model):
    """Sizes of the directories that user code can write to."""

    workspace: Annotated[Quantity, OPERATOR_DEFAULT] = Field(default="2Gi", description="Size of /workspace.")
    home: Annotated[Quantity, OPERATOR_DEFAULT] = Field(default="2Gi", description="Size of /home/sandbox.")
    tmp: Annotated[Quantity, OPERATOR_DEFAULT] = Field(default="512Mi", description="Size of /tmp.")


class PullSecret(Model):
    """A Secret with a registry's credentials, in the same namespace."""

    name: str = Field(description="Name of the Secret.")


class TemplateSpec(Model):
    """An administrator's settings for sessions. They can add no capability, volume, service account or container."""

    image: Annotated[str, text(1024)] = Field(
        default="", description="Image in which user code runs. Defaults to the operator's setting."
    )
    agent_image: Annotated[str, text(1024)] = Field(
        default="", description="Image of the agent. Defaults to the operator's setting."
    )
    image_pull_policy: Annotated[str, one_of("Always", "IfNotPresent", "Never")] = Field(
        default="IfNotPresent", description="Pull policy of both images."
    )
    image_pull_secrets: tuple[PullSecret, ...] = Field(default=(), description="Secrets for pulling the images.")
    resources: TemplateResources = TemplateResources()
    runtime_class_name: str = Field(default="", description="RuntimeClass of the pods, such as one for gVisor or Kata.")
    host_users: bool | None = Field(
        default=None, description="False: a user namespace for each pod, which the node and its runtime must support."
    )
    node_selector: dict[str, str] = Field(default={}, description="Labels of nodes that the pods may run on.")
    tolerations: tuple[Annotated[dict[str, Any], DescribedBy(Toleration)], ...] = Field(
        default=(), description="Tolerations of the pods."
    )
    egress: TemplateEgress = TemplateEgress()
    ingress_from: tuple[Annotated[dict[str, Any], DescribedBy(Peer)], ...] = Field(
        default=(), description="Further clients that may reach the gRPC port of sessions and of blank pods."
    )
    env: TemplateEnv = TemplateEnv()
    languages: tuple[Annotated[str, one_of("python", "javascript", "typescript")], ...] = Field(
        default=(),
        description="Allowed languages. All if empty. The first is the default of calls that name none.",
        json_schema_extra={"maxItems": 8},
    )
    limits: TemplateLimits = TemplateLimits()
    volumes: Volumes = Volumes()


class PoolSpec(Model):
    """Desired state of the pool."""

    template_ref: NameRef = Field(default=NameRef(), description="The SandboxTemplate, in the same namespace.")
    replicas: int = Field(
        default=0,
        ge=0,
        description="Number of blank pods to keep ready.",
        json_schema_extra={"format": "int32", "maximum": 5000},
    )


class Metadata(Model):
    """The part of an object's metadata that the operator reads."""

    name: str
    namespace: str
    uid: str
    generation: int = 1
    resource_version: str = "0"
    creation_timestamp: datetime
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] = Field(default={})
    annotations: dict[str, str] = Field(default={})


class Session(Model):
    """A SandboxSession: an isolated pod that runs user code, with files that outlive the pod."""

    metadata: Metadata
    spec: SessionSpec = SessionSpec()
    status: Annotated[dict[str, Any], DescribedBy(SessionStatus)] = Field(default={})

    @property
    def workspace_name(self) -> str:
        """Return the workspace's name, which defaults to the session's."""
        return self.spec.workspace.name or self.metadata.name


class Template(Model):
    """A SandboxTemplate: images, resources and permissions that sessions refer to by name."""

    metadata: Metadata
    spec: TemplateSpec


class Pool(Model):
    """A SandboxWarmPool: blank pods of one template, ready for sessions to claim."""

    metadata: Metadata
    spec: PoolSpec = PoolSpec()
    status: Annotated[dict[str, Any], DescribedBy(PoolStatus)] = Field(default={})


ModelT = TypeVar("ModelT", bound=Model)
_MAX_MESSAGE: Final = 200


def parse(model: type[ModelT], raw: Mapping[str, Any]) -> ModelT:
    """Parse an object from the API.

    Raises:
        SpecError: A value is wrong. The error names the first such field.
    """
    # In the API, null means that a field is not set, so its default applies.
    try:
        return model.model_validate(_without_null(raw))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise SpecError(field, str(first["msg"]).removeprefix("Value error, ")[:_MAX_MESSAGE]) from None


def _without_null(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_null(content) for key, content in value.items() if content is not None}
    if isinstance(value, list):
        return [_without_null(item) for item in value]
    return value
