"""The definitions as `kubectl explain` and `kubectl get` show them."""

import pytest

from sandbox_operator.api.crds import build_definitions

DEFINITIONS = build_definitions()


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
