"""The spec of a SandboxTemplate, with the descriptions and bounds that its CRD has. Pure."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from sandbox_operator.api.base import OPERATOR_DEFAULT, DescribedBy, Model, one_of, text
from sandbox_operator.api.session_spec import ENV_ITEMS, Egress, PlainEnvVar, Resources
from sandbox_operator.api.unparsed import Peer, Port, Toleration
from sandbox_operator.api.values import Amounts, Duration, Quantity  # noqa: TC001 - pydantic evaluates them


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
        default=(), description="Variables of all sessions. A session may override them.", json_schema_extra=ENV_ITEMS
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


class TemplateLifecycle(Model):
    """Bounds of the sessions' lifecycle."""

    max_lifetime: Duration | None = Field(
        default=None,
        description=(
            "Longest time that a pod may serve a session. A session that asks for more gets this much, and its"
            " condition LifecycleEffective says so. Changes apply to running sessions."
        ),
    )


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
        default=(), description="Allowed languages. All if empty.", json_schema_extra={"maxItems": 8}
    )
    limits: TemplateLimits = TemplateLimits()
    lifecycle: TemplateLifecycle = TemplateLifecycle()
    volumes: Volumes = Volumes()
