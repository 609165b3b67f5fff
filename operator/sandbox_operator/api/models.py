"""The custom resources, parsed. Also the source of their CRDs: descriptions, bounds and rules are here. Pure.

A wrong value that the API server let through raises a SpecError, which names the field.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime  # noqa: TC003 - pydantic evaluates it
from typing import Annotated, Any, Final, TypeVar

from pydantic import Field, ValidationError

from sandbox_operator.api.base import DescribedBy, Model
from sandbox_operator.api.session_spec import NameRef, SessionSpec
from sandbox_operator.api.template_spec import TemplateSpec  # noqa: TC001 - pydantic evaluates it
from sandbox_operator.api.unparsed import PoolStatus, SessionStatus
from sandbox_operator.errors import SpecError


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
    generate_name: str = ""
    """Prefix from which the name was generated. "" if the name was chosen."""
    labels: dict[str, str] = Field(default={})
    annotations: dict[str, str] = Field(default={})
    abridged: bool = False
    """True if the store has left out large parts of the spec. The API server knows no such field."""


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
