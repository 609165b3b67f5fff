"""The base of the custom resources' models, and the keywords that describe their fields to the API server. Pure.

The API server checks an object against the CRDs before the operator parses it. So the keywords here only go into the
schemas: parsing does not check them again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic_core import CoreSchema

Schema = dict[str, Any]


class Model(BaseModel):
    """Base of all models: camelCase names, unknown fields ignored (a newer CRD may have them), immutable."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, hide_input_in_errors=True)


@dataclass(frozen=True, slots=True)
class DescribedBy:
    """Annotation of a plain dict: the CRD describes it like a model, but parsing leaves it unchanged."""

    model: type[Model]

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> Schema:
        """Return the model's schema in place of the dict's."""
        del schema
        return handler(self.model.__pydantic_core_schema__)


def text(max_length: int, **keywords: Any) -> WithJsonSchema:
    """Describe a string of at most `max_length` characters."""
    return WithJsonSchema({"type": "string", "maxLength": max_length, **keywords})


def one_of(*values: str) -> WithJsonSchema:
    """Describe a string that is one of some words."""
    return WithJsonSchema({"type": "string", "enum": list(values)})


def rule(expression: str, message: str) -> Schema:
    """Return the keyword for one CEL rule, for the `json_schema_extra` of a field or a model."""
    return {"x-kubernetes-validations": [{"rule": expression, "message": message}]}


def map_by(key: str) -> Schema:
    """Return the keywords of a list in which `key` identifies an item, for server-side apply."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


def _drop_default(schema: Schema) -> None:
    schema.pop("default", None)


OPERATOR_DEFAULT: Final = Field(json_schema_extra=_drop_default)
"""Annotation of a field whose default only the operator applies: the API server does not write it into the object."""
