"""The CustomResourceDefinitions, made from the models. tools/generate_crds.py writes them into the chart. Pure."""

from __future__ import annotations

from datetime import timedelta
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING, Any, Final

from pydantic.json_schema import GenerateJsonSchema

from sandbox_operator.api.base import Model, rule
from sandbox_operator.api.models import Pool, Session, Template
from sandbox_operator.api.naming import DOMAIN
from sandbox_operator.api.values import MAX_NAME, format_duration
from sandbox_operator.kube.resources import GROUP, POOLS, SESSIONS, TEMPLATES, VERSION, Resource

if TYPE_CHECKING:
    from sandbox_operator.api.base import Schema

VERSION_ANNOTATION: Final = f"{DOMAIN}/version"
"""Annotation of a definition: the version of the operator that it belongs to."""
# Every string, list and map is bounded: the API server limits the cost of CEL rules by these bounds.
_MAX_TEXT: Final = 253
_MAX_ITEMS: Final = 64
_MAX_PROPERTIES: Final = 32


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
_SCALE: Final = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".status.selector",
}


def build_definitions() -> dict[str, dict[str, Any]]:
    """Build all definitions, by the name of their file."""
    table: dict[Resource, tuple[type[Model], str, dict[str, Any], list[dict[str, Any]]]] = {
        SESSIONS: (Session, "sbses", {"status": {}}, _SESSION_COLUMNS),
        TEMPLATES: (Template, "sbtpl", {}, _TEMPLATE_COLUMNS),
        POOLS: (Pool, "sbwp", {"status": {}, "scale": _SCALE}, _POOL_COLUMNS),
    }
    return {f"{resource.plural}.yaml": _build(resource, *columns) for resource, columns in table.items()}


def build_schema(model: type[Model]) -> Schema:
    """Build the structural schema of a custom resource. Kubernetes itself describes its metadata."""
    whole = model.model_json_schema(schema_generator=_Generator)
    parts = {
        name: _make_structural(part, whole["$defs"]) for name, part in whole["properties"].items() if name != "metadata"
    }
    return {
        "description": whole["description"],
        "type": "object",
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            # Names become label values, DNS labels and parts of other objects' names.
            "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": MAX_NAME}}},
            **parts,
        },
        **rule(f"self.metadata.name.size() <= {MAX_NAME}", f"metadata.name has at most {MAX_NAME} characters"),
    }


class _Generator(GenerateJsonSchema):
    """Writes defaults as a user would. An object's default is {}: the API server fills in those of its fields."""

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, timedelta):
            return format_duration(dft)
        return {} if isinstance(dft, Model) else super().encode_default(dft)

    def sort(self, value: Schema, parent_key: str | None = None) -> Schema:
        del parent_key
        return value


def _make_structural(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """Return a schema that the API server accepts: without references, titles and null, and with bounds."""
    schema = dict(schema)
    if {"type": "null"} in schema.get("anyOf", []):
        # A field without a value is left out of the object, so its schema need not allow null.
        schema |= next(kind for kind in schema.pop("anyOf") if kind != {"type": "null"})
    if reference := schema.pop("$ref", ""):
        schema = definitions[reference.rpartition("/")[2]] | schema
    schema.pop("title", None)
    if "properties" in schema:
        properties = schema["properties"].items()
        schema["properties"] = {name: _make_structural(field, definitions) for name, field in properties}
    for key in {"items", "additionalProperties"} & schema.keys():
        schema[key] = _make_structural(schema[key], definitions)
    _add_bounds(schema)
    if "default" in schema and not _is_default_needed(schema):
        del schema["default"]
    # Description and type come first, for readers of the YAML.
    return {key: schema[key] for key in ("description", "type") if key in schema} | schema


def _add_bounds(schema: Schema) -> None:
    if schema.get("type") == "string" and not {"enum", "format"} & schema.keys():
        schema.setdefault("maxLength", _MAX_TEXT)
    if schema.get("type") == "integer":
        schema.setdefault("format", "int64")
    if schema.get("type") == "array":
        schema.setdefault("maxItems", _MAX_ITEMS)
    if "additionalProperties" in schema:
        schema.setdefault("maxProperties", _MAX_PROPERTIES)


def _is_default_needed(schema: Schema) -> bool:
    """Return whether a default differs from the value that stands for a missing field."""
    if schema["default"] == {}:
        return any("default" in field for field in schema.get("properties", {}).values())
    return schema["default"] not in (None, "", [])


def _build(  # noqa: PLR0917, RUF100 - the columns of the table above
    resource: Resource,
    model: type[Model],
    short_name: str,
    subresources: dict[str, Any],
    columns: list[dict[str, Any]],
) -> dict[str, Any]:
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": columns,
        "schema": {"openAPIV3Schema": build_schema(model)},
        **({"subresources": subresources} if subresources else {}),
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{resource.plural}.{GROUP}",
            "annotations": {VERSION_ANNOTATION: installed_version("sandbox-operator")},
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": resource.kind.lower(),
                "shortNames": [short_name],
            },
            "versions": [version],
        },
    }
