"""Models of a pod's placement. Only the CRDs need them: the operator copies these parts into pods as they are. Pure."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sandbox_operator.api.base import Model, Schema
from sandbox_operator.api.unparsed import LabelSelector  # noqa: TC001 - pydantic evaluates it

_INT32: Schema = {"format": "int32"}
_FEW: Schema = {"maxItems": 16}


class Toleration(Model):
    """A toleration, as in a pod's spec."""

    key: str | None = Field(default=None, description="Key of the taint. All keys if not set.")
    operator: Literal["Exists", "Equal"] | None = Field(
        default=None, description="Equal: the taint has this value. Exists: any value."
    )
    value: str | None = Field(default=None, description="Value of the taint.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Effect of the taint. All effects if not set."
    )
    toleration_seconds: int | None = Field(
        default=None, description="Seconds that a pod stays on a node which gets a taint with the effect NoExecute."
    )


class NodeRequirement(Model):
    """A requirement on one label or field of a node."""

    key: str = Field(description="Label or field of the node.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] = Field(
        description="How the node's value relates to `values`."
    )
    values: tuple[str, ...] = Field(default=(), description="Values to compare with.")


class NodeTerm(Model):
    """Requirements that a node must all meet."""

    match_expressions: tuple[NodeRequirement, ...] = Field(
        default=(), description="Requirements on labels.", json_schema_extra=_FEW
    )
    match_fields: tuple[NodeRequirement, ...] = Field(
        default=(), description="Requirements on fields.", json_schema_extra=_FEW
    )


class NodeTerms(Model):
    """Terms of which a node must meet one."""

    node_selector_terms: tuple[NodeTerm, ...] = Field(description="The terms.", json_schema_extra=_FEW)


class PreferredNodes(Model):
    """A term with a weight."""

    weight: int = Field(description="Weight of the term.", ge=1, le=100, json_schema_extra=_INT32)
    preference: NodeTerm = Field(description="Nodes that are preferred.")


class NodeAffinity(Model):
    """Nodes on which a pod must or should run."""

    required_during_scheduling_ignored_during_execution: NodeTerms | None = Field(
        default=None, description="Nodes on which the pod must run."
    )
    preferred_during_scheduling_ignored_during_execution: tuple[PreferredNodes, ...] = Field(
        default=(), description="Nodes on which the pod should run.", json_schema_extra=_FEW
    )


class PodTerm(Model):
    """Pods beside which a pod is placed, or kept away from."""

    label_selector: LabelSelector | None = Field(default=None, description="Labels of the other pods.")
    namespace_selector: LabelSelector | None = Field(default=None, description="Labels of the other pods' namespaces.")
    namespaces: tuple[str, ...] = Field(
        default=(), description="Namespaces of the other pods. Defaults to the pod's own.", json_schema_extra=_FEW
    )
    topology_key: str = Field(description="Label of nodes. Nodes with the same value count as one place.")


class PreferredPods(Model):
    """A term with a weight."""

    weight: int = Field(description="Weight of the term.", ge=1, le=100, json_schema_extra=_INT32)
    pod_affinity_term: PodTerm = Field(description="The other pods.")


class PodAffinity(Model):
    """Other pods that decide where a pod must or should run."""

    required_during_scheduling_ignored_during_execution: tuple[PodTerm, ...] = Field(
        default=(), description="Terms that must hold.", json_schema_extra=_FEW
    )
    preferred_during_scheduling_ignored_during_execution: tuple[PreferredPods, ...] = Field(
        default=(), description="Terms that should hold.", json_schema_extra=_FEW
    )


class Affinity(Model):
    """The affinity of a pod, as in a pod's spec."""

    node_affinity: NodeAffinity | None = Field(default=None, description="Nodes on which the pods must or should run.")
    pod_affinity: PodAffinity | None = Field(default=None, description="Pods beside which the pods are placed.")
    pod_anti_affinity: PodAffinity | None = Field(default=None, description="Pods from which the pods are kept away.")


class TopologySpread(Model):
    """A rule that spreads pods over nodes or zones, as in a pod's spec."""

    max_skew: int = Field(description="Largest difference in pods between two places.", ge=1, json_schema_extra=_INT32)
    topology_key: str = Field(description="Label of nodes, such as topology.kubernetes.io/zone.")
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"] = Field(
        description="What to do with a pod that would break the rule."
    )
    label_selector: LabelSelector | None = Field(
        default=None, description="Pods that are counted. Defaults to all pods of the template."
    )
    min_domains: int | None = Field(
        default=None, description="Smallest number of places.", ge=1, json_schema_extra=_INT32
    )
