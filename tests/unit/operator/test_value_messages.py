"""Each duration, quantity and time of the custom resources is refused with our own message: its field and its range.

tests/e2e/test_attacks_fields.py tries the same fields on a real API server.
"""

import pytest

from sandbox_operator.api.crds import build_schema
from sandbox_operator.api.models import Pool, Session, Template, parse
from sandbox_operator.api.quantities import parse_quantity
from sandbox_operator.errors import SpecError
from tests.support.crd_values import BAD, DURATION, FIELDS, GOOD, MOMENT, SIZE, build_spec

METADATA = {"name": "n", "namespace": "ns", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"}
MODELS = {"SandboxSession": Session, "SandboxTemplate": Template, "SandboxWarmPool": Pool}


def find_values(schema, path):
    """Yield each field below a schema that has a rule of its own, and its schema."""
    if schema.get("x-kubernetes-validations") and schema.get("type") != "object":
        yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from find_values(field, (*path, name))
    for part in (schema.get("items"), schema.get("additionalProperties")):
        if part:
            yield from find_values(part, (*path, 0))


def test_the_table_has_every_such_field_of_every_kind():
    found = {}
    for kind, model in MODELS.items():
        for path, schema in find_values(build_schema(model)["properties"]["spec"], ()):
            message = schema["x-kubernetes-validations"][0]["message"]
            if message.startswith(("must be between", "must be an RFC")):
                found[kind, path] = message
    assert found == {(kind, path): message for kind, path, message in FIELDS}
    assert {message for _, _, message in FIELDS} >= {DURATION, MOMENT, SIZE}


@pytest.mark.parametrize(("kind", "path", "message"), FIELDS, ids=lambda value: str(value)[:60])
def test_no_message_of_the_api_servers_own_comes_first(kind, path, message):
    schemas = dict(find_values(build_schema(MODELS[kind])["properties"]["spec"], ()))
    assert not {"pattern", "format", "enum"} & schemas[path].keys()
    assert schemas[path]["maxLength"] == 253


@pytest.mark.parametrize(("kind", "path", "message"), FIELDS, ids=lambda value: str(value)[:60])
def test_the_operator_refuses_the_same_values_by_field_with_the_same_message(kind, path, message):
    field = ".".join(("spec", *map(str, path)))
    for value in BAD[message]:
        with pytest.raises(SpecError) as refusal:
            parse(MODELS[kind], {"metadata": METADATA, "spec": build_spec(path, value)})
        assert field.startswith(refusal.value.field)
        assert str(refusal.value).endswith(message)
        assert path[-1] in str(refusal.value)
    for value in GOOD[message]:
        parse(MODELS[kind], {"metadata": METADATA, "spec": build_spec(path, value)})


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("500m", "0.5"),
        ("2Gi", 2**31),
        ("1e3", 1000),
        ("1E3", 1000),
        ("1E", 10**18),
        (".5", "0.5"),
        ("3.", 3),
        ("7u", "7e-6"),
    ],
)
def test_quantities_are_read_as_kubernetes_does(text, number):
    assert parse_quantity(text) == parse_quantity(str(number))


@pytest.mark.parametrize(
    "text", ["", "1.2.3", "1 Gi", "1gi", "1e9999999999", "0x10", "1_000", "NaN", "Infinity", "\uff11"]
)
def test_what_is_no_quantity_is_refused(text):
    with pytest.raises(ValueError, match="is not a quantity"):
        parse_quantity(text)
