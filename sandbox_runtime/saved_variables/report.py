"""What is kept of contexts over a suspend, as records, and what is told of it after a wake. Pure: nothing is unpickled.

For each context one record, then one for each of its variables:

    {"context": {"id", "language", "cwd", "env", "execution_count"}, "lost": [[name, why], ...], "omitted": n}
    {"name": CELLS} and JSON: the sources of its last cells
    {"name": ...} and a pickle
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from sandbox_link.protocol import OperationError
from sandbox_runtime.saved_variables.record_format import CELLS, RecordError, encode_record, read_records
from sandbox_runtime.settings import LANGUAGES, read_env

MAX_TOLD: Final = 300
"""Names in a report, of each kind; the others are counted."""
_LONGEST_NAME: Final = 256
_LONGEST_REASON: Final = 200
_MADE: Final = re.compile(r"ctx-[0-9a-f]{12}")
_DEFAULT: Final = frozenset({"python", "javascript"})


@dataclass(slots=True)
class Section:
    """One context.

    Attributes:
        variables: Records of `{"name"}` with a pickle.
        lost: Name and reason; a name "" stands for all of them.
        omitted: How many more are lost.
        cells: The sources of its cells, as its interpreter wrote them down.
    """

    id: str
    language: str
    cwd: str
    env: dict[str, str]
    execution_count: int
    variables: list[tuple[str, bytes | memoryview]] = field(default_factory=list)
    lost: list[tuple[str, str]] = field(default_factory=list)
    omitted: int = 0
    cells: bytes | memoryview = b""

    def encode(self) -> list[bytes | memoryview]:
        """Its records, in pieces."""
        context = {
            "id": self.id,
            "language": self.language,
            "cwd": self.cwd,
            "env": self.env,
            "execution_count": self.execution_count,
        }
        lost, more = self.lost[:MAX_TOLD], len(self.lost[MAX_TOLD:])
        header = {"context": context, "lost": lost, "omitted": self.omitted + more}
        return [*encode_record(header), *self.encode_variables()]

    def encode_variables(self) -> list[bytes | memoryview]:
        """The records of its variables, and of its cells, in pieces."""
        records = [(CELLS, self.cells), *self.variables] if self.cells and self.variables else self.variables
        return [piece for name, content in records for piece in encode_record({"name": name}, content)]


@dataclass(slots=True)
class Report:
    """What a wake brought back.

    Attributes:
        kept: Context and name.
        lost: Context, name ("" for all of the context's) and reason.
        omitted: How many more were kept, and lost.
        problem: Why nothing could be brought back at all.
    """

    kept: list[tuple[str, str]] = field(default_factory=list)
    lost: list[tuple[str, str, str]] = field(default_factory=list)
    omitted: list[int] = field(default_factory=lambda: [0, 0])
    problem: str = ""

    def keep(self, context: str, name: str) -> None:
        """A variable is back."""
        if len(self.kept) < MAX_TOLD:
            self.kept.append((context, name[:_LONGEST_NAME]))
        else:
            self.omitted[0] += 1

    def lose(self, context: str, name: str, why: str) -> None:
        """A variable is not."""
        if len(self.lost) < MAX_TOLD:
            self.lost.append((context, name[:_LONGEST_NAME], why[:_LONGEST_REASON]))
        else:
            self.omitted[1] += 1

    def as_object(self) -> dict[str, Any]:
        """As the link has it."""
        return {"kept": self.kept, "lost": self.lost, "omitted": self.omitted, "problem": self.problem}


@dataclass(slots=True)
class Outcome:
    """What an interpreter told of its variables; see `runtime.python.variables`."""

    names: list[str] = field(default_factory=list)
    saved: dict[str, memoryview] = field(default_factory=dict)
    restored: set[str] = field(default_factory=set)
    lost: dict[str, str] = field(default_factory=dict)
    cells: bytes | memoryview = b""


def read_outcome(body: bytes | bytearray) -> Outcome:
    """The outcome as far as it was told: the interpreter may have been killed in the middle, or send nonsense."""
    outcome = Outcome()
    try:
        for header, content in read_records(body, is_whole=False):
            name, why = header.get("name"), header.get("lost")
            if not isinstance(name, str):
                outcome.names = [str(one)[:_LONGEST_NAME] for one in header.get("names") or ()]
            elif name == CELLS:
                outcome.cells = content
            elif why is not None:
                outcome.lost[name] = str(why)
            elif header.get("kept"):
                outcome.restored.add(name)
            else:
                outcome.saved[name] = content
    except (RecordError, TypeError):
        pass
    return outcome


def read_sections(data: bytes | bytearray) -> list[Section]:
    """Contexts as they were saved.

    Raises:
        RecordError: It is not what `Section.encode` gives.
    """
    sections: list[Section] = []
    for header, content in read_records(data):
        if "context" in header:
            sections.append(_read_section(header))
        elif not sections or not isinstance(header.get("name"), str):
            raise RecordError("a variable without a name, or without a context")
        elif header["name"] == CELLS:
            sections[-1].cells = content
        else:
            sections[-1].variables.append((header["name"], content))
    return sections


def _read_section(header: dict[str, Any]) -> Section:
    try:
        context = header["context"]
        id_, language, cwd, count = (context[name] for name in ("id", "language", "cwd", "execution_count"))
        if not (id_ in _DEFAULT or _MADE.fullmatch(id_)) or language not in LANGUAGES or not isinstance(cwd, str):
            raise RecordError("a context is none of a runtime's")
        lost = [(str(name), str(why)) for name, why in header["lost"]]
        return Section(
            id_, language, cwd, read_env(context["env"]), int(count), lost=lost, omitted=int(header["omitted"])
        )
    except (KeyError, TypeError, ValueError, OperationError) as error:
        raise RecordError(f"a context is malformed: {error}") from error
