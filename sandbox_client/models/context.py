"""Contexts and the languages that they run. Pure: no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox_client.errors import InvalidArgument
from sandbox_proto.v1 import types_pb2

if TYPE_CHECKING:
    from sandbox_proto.v1 import interpreter_pb2

LANGUAGES: Final = ("python", "javascript", "typescript", "bash")
"""Names of the languages that a context can run."""
_LANGUAGE_NUMBERS: Final = {
    "python": types_pb2.LANGUAGE_PYTHON,
    "javascript": types_pb2.LANGUAGE_JAVASCRIPT,
    "typescript": types_pb2.LANGUAGE_TYPESCRIPT,
    "bash": types_pb2.LANGUAGE_BASH,
}


@dataclass(frozen=True, slots=True)
class Context:
    """One interpreter with its own variables.

    Attributes:
        id: The id that calls take.
        language: `python`, `javascript`, `typescript` or `bash`.
        cwd: Its working directory, relative to the workspace root.
        busy: Whether a cell is running.
        execution_count: How many cells it has run.
    """

    id: str
    language: str
    cwd: str = ""
    busy: bool = False
    execution_count: int = 0

    def row(self) -> dict[str, str]:
        """Return the texts of a listing."""
        state = "busy" if self.busy else "idle"
        return {
            "id": self.id,
            "language": self.language,
            "cwd": self.cwd,
            "state": state,
            "cells": str(self.execution_count),
        }


def read_context(message: interpreter_pb2.Context) -> Context:
    """Convert a protocol message."""
    return Context(message.id, language_name(message.language), message.cwd, message.busy, message.execution_count)


def language_number(name: str, *, is_optional: bool = False) -> types_pb2.Language:
    """Return the protocol's number for a language.

    Args:
        name: `python`, `javascript`, `typescript` or `bash`.
        is_optional: Accept an empty name, which becomes LANGUAGE_UNSPECIFIED.

    Raises:
        InvalidArgument: There is no such language.
    """
    if not name and is_optional:
        return types_pb2.LANGUAGE_UNSPECIFIED
    if name not in LANGUAGES:
        choice = ", ".join(LANGUAGES)
        raise InvalidArgument(
            f"there is no language {name!r}: use {choice}", reason="UNKNOWN_LANGUAGE", field="language"
        )
    return _LANGUAGE_NUMBERS[name]


def language_name(number: int) -> str:
    """Return the name for the protocol's number of a language, or "" if it is unspecified."""
    return LANGUAGES[number - 1] if 1 <= number <= len(LANGUAGES) else ""
