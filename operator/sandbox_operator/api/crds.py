"""The CustomResourceDefinitions, from which tools/generate_crds.py writes the chart's YAML. Pure."""

from __future__ import annotations

from typing import Any, Final

from sandbox_operator.api.schema import (
    MAX_NAME,
    Schema,
    array,
    boolean,
    choice,
    duration,
    fields,
    integer,
    moment,
    name,
    rules,
    text,
)
from sandbox_operator.api.template_schema import ENV, RESOURCES, TEMPLATE_SPEC
from sandbox_operator.kube.resources import GROUP, POOLS, SESSIONS, TEMPLATES, VERSION, Resource

_IMMUTABLE: Final = "is immutable; make another session"

_TEMPLATE_REF: Final = fields(
    {"name": name("Its name.", default="default")},
    "The SandboxTemplate, in the same namespace. Immutable.",
    default={},
    **rules(("self == oldSelf", f"templateRef {_IMMUTABLE}")),
)
_WORKSPACE: Final = fields(
    {
        "name": name(
            "Sessions with the same workspace see the same files, one after the other. Default: the session's name."
        ),
        "sync": choice("Manual", "OnChange", description="When files are saved by themselves.", default="Manual"),
        "exclude": array(text(longest=1024), "Glob patterns that a push of everything leaves out."),
    },
    "The files, kept in object storage.",
    default={},
    **rules(
        (
            "has(self.name) == has(oldSelf.name) && (!has(self.name) || self.name == oldSelf.name)",
            f"workspace.name {_IMMUTABLE}",
        )
    ),
)
_LIFECYCLE: Final = fields(
    {
        "idleTimeout": duration("Time without use after which `onIdle` happens.", default="15m"),
        "maxLifetime": duration("Age of the pod at which `onExpiry` happens.", default="8h"),
        "onIdle": choice("Suspend", "Delete", default="Suspend"),
        "onExpiry": choice("Suspend", "Delete", default="Suspend"),
        "ttlAfterFinished": duration("Time after which a session that failed, or was suspended at expiry, is deleted."),
        "keepVariables": boolean(
            "Save the Python variables that can be pickled, 64 MiB at most, with the files at each suspend, and bring "
            "them back when the session is resumed. Best effort; in force from the next start on.",
            default=False,
        ),
    },
    "When the session sleeps or ends by itself.",
    default={},
)
_SESSION_SPEC: Final = fields(
    {
        "templateRef": _TEMPLATE_REF,
        "env": array(
            ENV,
            "Environment of user code; in force from the next start on.",
            longest=256,
            **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
        "resources": RESOURCES,
        "workspace": _WORKSPACE,
        "lifecycle": _LIFECYCLE,
        "suspended": boolean("Save the files and give the pod back; false brings both again.", default=False),
        "egress": choice(
            "None", "Allowlist", "Public", description="Never wider than the template's, which is the default."
        ),
    },
    default={},
)
_CONDITION: Final = fields(
    {
        "type": text(longest=316),
        "status": choice("True", "False", "Unknown"),
        "reason": text(longest=1024),
        "message": text(longest=32768),
        "observedGeneration": integer(),
        "lastTransitionTime": moment(),
    },
    required=("type", "status", "reason", "message", "lastTransitionTime"),
)
_MAP_BY_TYPE: Final[dict[str, Any]] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
_CONDITIONS: Final = array(_CONDITION, longest=16, **_MAP_BY_TYPE)
_SESSION_STATUS: Final = fields(
    {
        "observedGeneration": integer("The generation that this status is about."),
        "phase": choice("Pending", "Starting", "Ready", "Suspending", "Suspended", "Failed", "Terminating"),
        "conditions": _CONDITIONS,
        "endpoint": text("host:port of the agent; set while Ready."),
        "podName": text(),
        "accessSecretName": text("The Secret with token, ca.crt, endpoint and serverName."),
        "startedAt": moment("When the pod was made."),
        "lastActiveAt": moment("The last use, give or take a minute."),
        "expiresAt": moment("When maxLifetime is over."),
        "workspace": fields(
            {
                "generation": integer(),
                "files": integer(),
                "bytes": integer(),
                "syncedAt": moment(),
                "dirty": boolean("Files differ from what is saved."),
            }
        ),
        "startup": fields({"source": choice("Warm", "Cold"), "milliseconds": integer()}),
    }
)
_POOL_SPEC: Final = fields(
    {
        "templateRef": fields(
            {"name": name("Its name.", default="default")}, "The SandboxTemplate, in the same namespace.", default={}
        ),
        "replicas": {
            "description": "Blank pods that are kept ready.",
            "type": "integer",
            "format": "int32",
            "minimum": 0,
            "maximum": 5000,
            "default": 0,
        },
    },
    "How many blank pods of a template wait for sessions.",
    default={},
)
_POOL_STATUS: Final = fields(
    {
        "observedGeneration": integer(),
        "replicas": {"description": "Blank pods there are.", "type": "integer", "format": "int32"},
        "readyReplicas": {
            "description": "Blank pods that a session can claim now.",
            "type": "integer",
            "format": "int32",
        },
        "selector": text("Selects the blank pods.", longest=1024),
        "conditions": _CONDITIONS,
    }
)


def _column(title: str, path: str, type_: str = "string", **more: Any) -> dict[str, Any]:
    return {"name": title, "type": type_, "jsonPath": path, **more}


_AGE: Final = _column("Age", ".metadata.creationTimestamp", "date")
_SESSION_COLUMNS: Final = [
    _column("Phase", ".status.phase"),
    _column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
    _column("Template", ".spec.templateRef.name"),
    _column("Source", ".status.startup.source"),
    _AGE,
    _column("Expires", ".status.expiresAt"),
    _column("Reason", '.status.conditions[?(@.type=="Ready")].reason', priority=1),
    _column("Endpoint", ".status.endpoint", priority=1),
]
_TEMPLATE_COLUMNS: Final = [
    _column("Image", ".spec.image"),
    _column("Egress", ".spec.egress.mode"),
    _column("Runtime", ".spec.runtimeClassName"),
    _AGE,
]
_POOL_COLUMNS: Final = [
    _column("Template", ".spec.templateRef.name"),
    _column("Replicas", ".spec.replicas", "integer"),
    _column("Ready", ".status.readyReplicas", "integer"),
    _AGE,
    _column("Reason", '.status.conditions[?(@.type=="Ready")].reason', priority=1),
]


def build_definitions() -> dict[str, dict[str, Any]]:
    """File name to definition."""
    scale = {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    table: dict[Resource, tuple[Any, ...]] = {
        SESSIONS: ("sbx", _SESSION_SPEC, _SESSION_STATUS, {"status": {}}, _SESSION_COLUMNS),
        TEMPLATES: ("sbt", TEMPLATE_SPEC, None, {}, _TEMPLATE_COLUMNS),
        POOLS: ("swp", _POOL_SPEC, _POOL_STATUS, {"status": {}, "scale": scale}, _POOL_COLUMNS),
    }
    return {f"{resource.plural}.yaml": _build(resource, *parts) for resource, parts in table.items()}


def _build(  # noqa: PLR0917, RUF100 - the columns of the table above
    resource: Resource,
    short: str,
    spec: Schema,
    status: Schema | None,
    subresources: dict[str, Any],
    columns: list[dict[str, Any]],
) -> dict[str, Any]:
    properties: dict[str, Schema] = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": MAX_NAME}}},
        "spec": spec,
    }
    if status:
        properties["status"] = status
    # Names become label values, DNS labels and parts of other objects' names.
    name_rule = (f"self.metadata.name.size() <= {MAX_NAME}", f"metadata.name has at most {MAX_NAME} characters")
    required = {"required": ["spec"]} if "required" in spec else {}
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": columns,
        "schema": {"openAPIV3Schema": {"type": "object", **required, "properties": properties, **rules(name_rule)}},
    }
    if subresources:
        version["subresources"] = subresources
    singular = resource.kind.lower()
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": singular,
                "shortNames": [short],
                "categories": ["sandbox"],
            },
            "versions": [version],
        },
    }
