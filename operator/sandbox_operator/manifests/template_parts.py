"""The parts of a pod that its template chooses: labels, annotations, placement, devices and further volumes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sandbox_operator.api import naming, pod_rules
from sandbox_operator.errors import SpecError

if TYPE_CHECKING:
    from sandbox_operator.api.models import Template
    from sandbox_operator.api.session_spec import Resources
    from sandbox_operator.api.template_spec import Mount
    from sandbox_operator.settings import Settings

_SETTING: Final = "the operator's setting TEMPLATE_METADATA does not allow it (the chart's value templateMetadata)"


def check_metadata(template: Template, settings: Settings) -> None:
    """Check the template's labels and annotations of pods against the operator's settings.

    Raises:
        SpecError: One is not allowed, or selects the operator's own pods.
    """
    labels, annotations, allowed = template.spec.pod_labels, template.spec.pod_annotations, settings.template_metadata
    if own := sorted(labels.keys() & settings.pod_labels.keys()):
        # The sessions' NetworkPolicies admit pods with such labels to the agents' control port.
        raise SpecError("spec.podLabels", f"{own[0]} selects the operator's own pods; use another key")
    if unknown := pod_rules.find_unknown_label(labels, allowed):
        raise SpecError("spec.podLabels", f"{unknown}: {_SETTING}")
    if unknown := pod_rules.find_unknown_annotation(annotations, allowed):
        raise SpecError("spec.podAnnotations", f"{unknown}: {_SETTING}")


def build_placement(template: Template) -> dict[str, Any]:
    """Build the fields of a pod's spec that decide where it runs, without those that are not set."""
    spec = template.spec
    fields: dict[str, Any] = {
        "hostUsers": spec.host_users,
        "runtimeClassName": spec.runtime_class_name or None,
        "nodeSelector": spec.node_selector or None,
        "tolerations": list(spec.tolerations) or None,
        "affinity": spec.affinity or None,
        "topologySpreadConstraints": [_spread(template, each) for each in spec.topology_spread_constraints] or None,
        "priorityClassName": spec.priority_class_name or None,
        "imagePullSecrets": [{"name": secret.name} for secret in spec.image_pull_secrets] or None,
    }
    return {key: value for key, value in fields.items() if value is not None}


def build_resources(template: Template, resources: Resources) -> dict[str, Any]:
    """Build the sandbox container's requests and limits, with the template's extended resources."""
    extended = {name: str(count) for name, count in template.spec.resources.extended.items()}
    return {"requests": resources.requests | extended, "limits": resources.limits | extended}


def build_mounts(template: Template) -> list[dict[str, Any]]:
    """Build the sandbox container's mounts of the template's volumes."""
    return [
        {
            "name": _volume_name(mount),
            "mountPath": mount.mount_path,
            **({"readOnly": True} if mount.persistent_volume_claim and mount.persistent_volume_claim.read_only else {}),
        }
        for mount in template.spec.mounts
    ]


def build_volumes(template: Template) -> list[dict[str, Any]]:
    """Build the template's volumes."""
    return [{"name": _volume_name(mount), **_source(mount)} for mount in template.spec.mounts]


def _volume_name(mount: Mount) -> str:
    # The prefix keeps it apart from the operator's own volumes.
    return f"mount-{mount.name}"


def _source(mount: Mount) -> dict[str, Any]:
    if claim := mount.persistent_volume_claim:
        read_only = {"readOnly": True} if claim.read_only else {}
        return {"persistentVolumeClaim": {"claimName": claim.claim_name, **read_only}}
    if folder := mount.empty_dir:
        medium = {"medium": folder.medium} if folder.medium else {}
        return {"emptyDir": {"sizeLimit": folder.size_limit, **medium}}
    raise AssertionError("a mount has one of both sources")


def _spread(template: Template, rule: dict[str, Any]) -> dict[str, Any]:
    own = {naming.MANAGED_BY: naming.MANAGER, naming.TEMPLATE: template.metadata.name}
    return {"labelSelector": {"matchLabels": own}, **rule}
