"""The definitions as `kubectl explain` and `kubectl get` show them, and the examples that follow them."""

from pathlib import Path

import pytest
import yaml

from sandbox_operator.api.crds import build_definitions
from sandbox_operator.api.models import Pool, Session, Template, parse
from sandbox_operator.manifests.template_parts import check_metadata
from sandbox_operator.settings import Settings

DEFINITIONS = build_definitions()
MODELS = {model.__name__: model for model in (Pool, Session, Template)}
KINDS = {"SandboxSession": "Session", "SandboxTemplate": "Template", "SandboxWarmPool": "Pool"}
EXAMPLES = [
    (path.name, document)
    for path in sorted((Path(__file__).parents[3] / "examples").glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
    if isinstance(document, dict) and document.get("kind") in KINDS
]


def fields_without_description(schema, path):
    """Yield the path of each kind or field below a schema that has no description."""
    if not schema.get("description"):
        yield path
    for name, field in schema.get("properties", {}).items():
        yield from fields_without_description(field, f"{path}.{name}")
    for part in (schema.get("items"), schema.get("additionalProperties")):
        # `kubectl explain` shows the description of a list or map itself, and those of its items' fields.
        for name, field in (part or {}).get("properties", {}).items():
            yield from fields_without_description(field, f"{path}.{name}")


@pytest.mark.parametrize("name", DEFINITIONS)
def test_every_kind_and_field_is_described(name):
    version = DEFINITIONS[name]["spec"]["versions"][0]
    # The API server itself describes the fields that every object has.
    common = {f"{name}.{field}" for field in ("apiVersion", "kind", "metadata", "metadata.name")}
    assert set(fields_without_description(version["schema"]["openAPIV3Schema"], name)) - common == set()


def test_a_field_without_a_description_is_found():
    leaf = {"type": "string"}
    schema = {
        "description": "x",
        "properties": {
            "list": {"description": "x", "items": {"properties": {"inner": leaf}}},
            "map": {"description": "x", "additionalProperties": {"properties": {"inner": leaf}}},
            "leaf": leaf,
        },
    }
    assert set(fields_without_description(schema, "a")) == {"a.list.inner", "a.map.inner", "a.leaf"}


def test_the_names_are_those_that_other_projects_leave_free():
    names = [definition["spec"]["names"] for definition in DEFINITIONS.values()]
    assert {each["kind"]: each["shortNames"] for each in names} == {
        "SandboxSession": ["sbses"],
        "SandboxTemplate": ["sbtpl"],
        "SandboxWarmPool": ["sbwp"],
    }
    assert all("categories" not in each for each in names)


def unknown_fields(value, schema, path):
    """Yield the path of each field of an object that its schema does not have."""
    if isinstance(value, list):
        for item in value:
            yield from unknown_fields(item, schema["items"], path)
    elif isinstance(value, dict):
        for name, inner in value.items():
            field = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
            if field is None:
                yield f"{path}.{name}"
            else:
                yield from unknown_fields(inner, field, f"{path}.{name}")


@pytest.mark.parametrize(("name", "example"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_every_example_is_valid(name, example):
    (definition,) = (each for each in DEFINITIONS.values() if each["spec"]["names"]["kind"] == example["kind"])
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert set(unknown_fields(example["spec"], schema["properties"]["spec"], "spec")) == set(), name
    metadata = {"namespace": "n", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z", **example["metadata"]}
    parsed = parse(MODELS[KINDS[example["kind"]]], {**example, "metadata": metadata})
    if isinstance(parsed, Template):
        check_metadata(parsed, Settings())


def test_a_field_that_does_not_exist_is_found():
    schema = {"properties": {"list": {"items": {"properties": {"a": {}}}}, "map": {"additionalProperties": {}}}}
    value = {"list": [{"a": 1, "b": 2}], "map": {"any": 1}, "other": 1}
    assert set(unknown_fields(value, schema, "spec")) == {"spec.list.b", "spec.other"}
