"""The spec of a SandboxTemplate, with the descriptions and bounds that its CRD has. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema, model_validator

from sandbox_operator.api import pod_rules
from sandbox_operator.api.base import OPERATOR_DEFAULT, DescribedBy, Model, Schema, map_by, one_of, rule, text
from sandbox_operator.api.placement import Affinity, Toleration, TopologySpread
from sandbox_operator.api.quantities import Amounts, Size  # noqa: TC001 - pydantic evaluates them
from sandbox_operator.api.session_spec import ENV_ITEMS, Egress, PlainEnvVar, Resources
from sandbox_operator.api.unparsed import Peer, Port
from sandbox_operator.api.values import NAME_PATTERN, Duration

DEFAULT_END_DEADLINE: Final = timedelta(minutes=30)
_FEW: Final[Schema] = {"maxItems": 16}
_MAX_BYTES: Final = 2**50
_PATH_PATTERN: Final = r"^(/[A-Za-z0-9._-]+)+$"


def _check_priority_class(name: str) -> str:
    if name.startswith("system-"):
        raise ValueError(f"{name} is for parts of Kubernetes only")
    return name


def _check_labels(labels: dict[str, str]) -> dict[str, str]:
    pod_rules.check_names(labels)
    pod_rules.check_label_values(labels)
    return labels


def _check_annotations(annotations: dict[str, str]) -> dict[str, str]:
    pod_rules.check_names(annotations)
    return annotations


def _check_extended(resources: dict[str, int]) -> dict[str, int]:
    pod_rules.check_extended(resources)
    return resources


def _strings(max_length: int, max_properties: int) -> WithJsonSchema:
    value = {"type": "string", "maxLength": max_length}
    return WithJsonSchema({"type": "object", "additionalProperties": value, "maxProperties": max_properties})


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
    extended: Annotated[
        dict[str, Annotated[int, Field(ge=1)]],
        AfterValidator(_check_extended),
        WithJsonSchema(
            {
                "type": "object",
                "additionalProperties": {"type": "integer", "format": "int32", "minimum": 1},
                "maxProperties": 8,
                **rule(
                    "self.all(name, name.contains('/') && !name.startsWith('kubernetes.io/')"
                    " && !name.contains('.kubernetes.io/'))",
                    "must be extended resources such as nvidia.com/gpu",
                ),
            }
        ),
    ] = Field(
        default={},
        description=(
            "Extended resources of each session, such as `nvidia.com/gpu: 1`. They exist only on nodes with the device"
            " plugin. User code gets full access to the devices."
        ),
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
        default=0, ge=0, le=_MAX_BYTES, description="Bytes of output that are kept of one execution."
    )
    processes: Annotated[int, OPERATOR_DEFAULT] = Field(default=0, ge=0, le=2**22, description="Number of processes.")
    file_bytes: Annotated[int, OPERATOR_DEFAULT] = Field(
        default=0, ge=0, le=_MAX_BYTES, description="Size of one file in bytes."
    )


class TemplateLifecycle(Model):
    """Bounds of the sessions' lifecycle."""

    max_lifetime: Duration | None = Field(
        default=None,
        description=(
            "Longest time that a pod may serve a session. A session that asks for more gets this much, and its"
            " condition LifecycleEffective says so. Changes apply to running sessions."
        ),
    )
    end_deadline: Annotated[Duration, OPERATOR_DEFAULT] = Field(
        default=DEFAULT_END_DEADLINE,
        description=(
            "Longest time that the end of a session may take, after its lifetime or `expiresAt`. Then its processes are"
            " stopped and its pod is deleted, whatever could be saved. Defaults to 30m."
        ),
    )
    on_unsaved_files: Annotated[str, one_of("Stay", "Suspend"), OPERATOR_DEFAULT] = Field(
        default="Stay",
        description=(
            "Action if a suspend cannot save every file. Stay, the default: the pod stays, and the status names the"
            " files, until the session's lifetime and `endDeadline` are over. Suspend: the session is suspended without"
            " those files, at the latest after `endDeadline`."
        ),
    )


class Volumes(Model):
    """Sizes of the directories that user code can write to."""

    workspace: Annotated[Size, OPERATOR_DEFAULT] = Field(default="2Gi", description="Size of /workspace.")
    home: Annotated[Size, OPERATOR_DEFAULT] = Field(default="2Gi", description="Size of /home/sandbox.")
    tmp: Annotated[Size, OPERATOR_DEFAULT] = Field(default="512Mi", description="Size of /tmp.")


class ClaimSource(Model):
    """A PersistentVolumeClaim in the same namespace."""

    claim_name: Annotated[str, text(253, pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$")] = Field(
        description="Name of the PersistentVolumeClaim."
    )
    read_only: bool = Field(
        default=True,
        description=(
            "False: user code may write. All sessions of the template then share what any of them writes, so set it"
            " only if they trust each other."
        ),
    )


class EmptyDirSource(Model):
    """An empty folder on the node, for one pod."""

    size_limit: Size = Field(description="The most that it may hold. The container's own limits apply, too.")
    medium: Annotated[str, one_of("", "Memory")] = Field(
        default="", description="Memory: it is in memory, and counts against the container's limit."
    )


class Mount(Model):
    """A further volume for user code. The agent's container does not get it, and no push saves it."""

    model_config = ConfigDict(
        json_schema_extra=rule(
            "has(self.persistentVolumeClaim) != has(self.emptyDir)", "set persistentVolumeClaim or emptyDir, not both"
        )
    )

    name: Annotated[str, text(pod_rules.MAX_MOUNT_NAME, minLength=1, pattern=NAME_PATTERN)] = Field(
        description="Name of the mount."
    )
    mount_path: Annotated[
        str,
        AfterValidator(pod_rules.check_mount_path),
        text(
            256,
            pattern=_PATH_PATTERN,
            **rule(
                f"!(self.split('/')[1] in {list(pod_rules.RESERVED_FOLDERS)})"
                " && !self.split('/').exists(part, part == '.' || part == '..')",
                "must be a path such as /models, outside of the sandbox's own and the system's folders",
            ),
        ),
    ] = Field(description="Absolute path, such as /models. Not inside /workspace, /home, /tmp or a system folder.")
    persistent_volume_claim: ClaimSource | None = Field(
        default=None, description="Mount a PersistentVolumeClaim, such as one with models. Read-only by default."
    )
    empty_dir: EmptyDirSource | None = Field(default=None, description="Mount an empty folder, such as one in memory.")

    @model_validator(mode="after")
    def _check_source(self) -> Mount:
        if (self.persistent_volume_claim is None) == (self.empty_dir is None):
            raise ValueError("set persistentVolumeClaim or emptyDir, not both")
        return self


def _check_mounts(mounts: tuple[Mount, ...]) -> tuple[Mount, ...]:
    pod_rules.check_mounts((mount.name, mount.mount_path) for mount in mounts)
    return mounts


class PullSecret(Model):
    """A Secret with a registry's credentials, in the same namespace."""

    name: str = Field(description="Name of the Secret.")


class TemplateSpec(Model):
    """An administrator's settings for sessions. They can add no capability, service account or container."""

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
    affinity: Annotated[dict[str, Any], DescribedBy(Affinity)] | None = Field(
        default=None, description="Affinity of the pods, as in a pod's spec."
    )
    topology_spread_constraints: tuple[Annotated[dict[str, Any], DescribedBy(TopologySpread)], ...] = Field(
        default=(), description="Rules that spread the pods over nodes or zones.", json_schema_extra=_FEW
    )
    priority_class_name: Annotated[
        str,
        AfterValidator(_check_priority_class),
        text(253, **rule("!self.startsWith('system-')", "is for parts of Kubernetes only")),
    ] = Field(default="", description="PriorityClass of the pods. Those of Kubernetes itself are not allowed.")
    pod_labels: Annotated[dict[str, str], AfterValidator(_check_labels), _strings(63, 32)] = Field(
        default={},
        description=(
            "Further labels of the pods. Keys without a domain and those of app.kubernetes.io are allowed, others only"
            " if the operator's setting TEMPLATE_METADATA has them. A NetworkPolicy of your own that selects such a"
            " label adds to what sessions may reach."
        ),
    )
    pod_annotations: Annotated[dict[str, str], AfterValidator(_check_annotations), _strings(4096, 32)] = Field(
        default={},
        description=(
            "Annotations of the pods. Keys without a domain and harmless ones, such as those for autoscalers, are"
            " allowed, others only if the operator's setting TEMPLATE_METADATA has them. Those that configure a pod's"
            " isolation never are."
        ),
    )
    egress: TemplateEgress = TemplateEgress()
    ingress_from: tuple[Annotated[dict[str, Any], DescribedBy(Peer)], ...] = Field(
        default=(), description="Further clients that may reach the gRPC port of sessions and of blank pods."
    )
    env: TemplateEnv = TemplateEnv()
    languages: tuple[Annotated[str, one_of("python", "javascript", "typescript", "bash")], ...] = Field(
        default=(),
        description="Allowed languages. All if empty. The first is the default of calls that name none.",
        json_schema_extra={"maxItems": 8},
    )
    limits: TemplateLimits = TemplateLimits()
    lifecycle: TemplateLifecycle = TemplateLifecycle()
    volumes: Volumes = Volumes()
    mounts: Annotated[tuple[Mount, ...], AfterValidator(_check_mounts)] = Field(
        default=(), description="Further volumes for user code.", json_schema_extra={**_FEW, **map_by("name")}
    )
