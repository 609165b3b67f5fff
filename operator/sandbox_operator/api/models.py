"""Parsed custom resources. The API server checked them already; a wrong value here names its field in a SpecError."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from sandbox_operator.api.values import Quantity, Seconds  # noqa: TC001 - pydantic looks at them
from sandbox_operator.errors import SpecError


class Model(BaseModel):
    """camelCase outside, unknown fields ignored (a newer CRD), never changed after parsing."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, hide_input_in_errors=True)


class Egress(StrEnum):
    """Where user code may connect to."""

    NONE = "None"
    ALLOWLIST = "Allowlist"
    PUBLIC = "Public"

    def is_wider_than(self, other: Egress) -> bool:
        """Whether this allows what `other` does not."""
        order = list(Egress)
        return order.index(self) > order.index(other)


class EndAction(StrEnum):
    """What happens at the end of a time."""

    SUSPEND = "Suspend"
    DELETE = "Delete"


class NameRef(Model):
    """The name of an object in the same namespace."""

    name: str = "default"


class SecretKeyRef(Model):
    """A key of a Secret in the same namespace."""

    name: str
    key: str


class EnvVar(Model):
    """An environment variable for user code."""

    name: str
    value: str = ""
    secret_key_ref: SecretKeyRef | None = None


class Resources(Model):
    """Requests and limits of the sandbox container, as a container has them."""

    requests: dict[str, Quantity] = {}
    limits: dict[str, Quantity] = {}


class Workspace(Model):
    """Which files a session works on."""

    name: str = ""
    sync: str = "Manual"
    exclude: tuple[str, ...] = ()


class Lifecycle(Model):
    """When a session ends or sleeps by itself."""

    idle_timeout: Seconds | None = timedelta(minutes=15)
    max_lifetime: Seconds = timedelta(hours=8)
    on_idle: EndAction = EndAction.SUSPEND
    on_expiry: EndAction = EndAction.SUSPEND
    ttl_after_finished: Seconds | None = None
    keep_variables: bool = False


class SessionSpec(Model):
    """What a user asks for."""

    template_ref: NameRef = NameRef(name="")
    env: tuple[EnvVar, ...] = ()
    resources: Resources = Resources()
    workspace: Workspace = Workspace()
    lifecycle: Lifecycle = Lifecycle()
    suspended: bool = False
    egress: Egress | None = None


class EgressRule(Model):
    """Addresses an Allowlist contains."""

    cidr: str
    ports: tuple[dict[str, Any], ...] = ()


class TemplateEgress(Model):
    """The widest egress of a template's sessions, and their default."""

    mode: Egress = Egress.NONE
    allow: tuple[EgressRule, ...] = ()


class TemplateResources(Model):
    """What a session gets, and the most it may ask for."""

    default: Resources = Resources(
        requests={"cpu": "100m", "memory": "256Mi"}, limits={"cpu": "1", "memory": "1Gi", "ephemeral-storage": "4Gi"}
    )
    maximum: dict[str, Quantity] | None = None


class TemplateEnv(Model):
    """Variables of every session, and what sessions may add."""

    defaults: tuple[EnvVar, ...] = ()
    forbidden: tuple[str, ...] = ()
    allowed_secrets: tuple[str, ...] = ("*",)


class TemplateLimits(Model):
    """Limits that the runtime enforces."""

    execution_timeout: Seconds | None = None
    output_bytes: int = Field(0, ge=0)
    processes: int = Field(0, ge=0)
    file_bytes: int = Field(0, ge=0)


class Volumes(Model):
    """Sizes of the pod's folders."""

    workspace: Quantity = "2Gi"
    home: Quantity = "2Gi"
    tmp: Quantity = "512Mi"


class TemplateSpec(Model):
    """What an administrator allows."""

    image: str = ""
    agent_image: str = ""
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[NameRef, ...] = ()
    resources: TemplateResources = TemplateResources()
    runtime_class_name: str = ""
    host_users: bool | None = None
    node_selector: dict[str, str] = {}
    tolerations: tuple[dict[str, Any], ...] = ()
    egress: TemplateEgress = TemplateEgress()
    ingress_from: tuple[dict[str, Any], ...] = ()
    env: TemplateEnv = TemplateEnv()
    languages: tuple[str, ...] = ()
    limits: TemplateLimits = Field(default_factory=lambda: TemplateLimits.model_validate({}))
    volumes: Volumes = Volumes()


class PoolSpec(Model):
    """How many blank pods of a template are kept ready."""

    template_ref: NameRef = NameRef()
    replicas: int = Field(0, ge=0)


class Metadata(Model):
    """What the operator needs of an object's metadata."""

    name: str
    namespace: str
    uid: str
    generation: int = 1
    resource_version: str = "0"
    creation_timestamp: datetime
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Session(Model):
    """A SandboxSession."""

    metadata: Metadata
    spec: SessionSpec = SessionSpec()
    status: dict[str, Any] = {}

    @property
    def workspace_name(self) -> str:
        """The workspace's name; the session's where none is given."""
        return self.spec.workspace.name or self.metadata.name


class Template(Model):
    """A SandboxTemplate."""

    metadata: Metadata
    spec: TemplateSpec


class Pool(Model):
    """A SandboxWarmPool."""

    metadata: Metadata
    spec: PoolSpec = Field(default_factory=lambda: PoolSpec.model_validate({}))
    status: dict[str, Any] = {}


ModelT = TypeVar("ModelT", bound=Model)
_MAX_MESSAGE: Final = 200


def parse(model: type[ModelT], raw: Mapping[str, Any]) -> ModelT:
    """A model of an object from the API.

    Raises:
        SpecError: A value is wrong; the first one's field is named.
    """
    # null means "not set" in the API, and defaults are for what is not set.
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
