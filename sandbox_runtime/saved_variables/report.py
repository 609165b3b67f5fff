"""The saved form of contexts and their variables, and the report on a restore. Pure: nothing is unpickled.

There is one record for each context, and then one for each of its variables:

    {"context": {"id", "language", "cwd", "env", "execution_count"}, "lost": [[name, why], ...], "omitted": n}
    {"name": CELLS} and JSON: the sources of its last cells
    {"name": ...} and a pickle
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from sandbox_link.protocol import OperationError
from sandbox_runtime.python.variable_records import CELLS, RecordError, encode_record, read_records
from sandbox_runtime.settings import LANGUAGES, read_env

MAX_REPORTED: Final = 300
"""Maximum number of names of each kind in a report. Further ones are only counted."""
_MAX_NAME: Final = 256
_MAX_REASON: Final = 200
_CREATED_ID: Final = re.compile(r"ctx-[0-9a-f]{12}")
DEFAULT_IDS: Final = frozenset({"python", "javascript", "bash"})


@dataclass(slots=True, eq=False)
class Section:
    """A saved context.

    Attributes:
        variables: Names and pickles.
        lost: Names and reasons. The name "" stands for all variables.
        omitted: Number of further lost variables.
        cells: The sources of its cells, as its interpreter encoded them.
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
        """Return its records, in pieces."""
        context = {
            "id": self.id,
            "language": self.language,
            "cwd": self.cwd,
            "env": self.env,
            "execution_count": self.execution_count,
        }
        lost, more = self.lost[:MAX_REPORTED], len(self.lost[MAX_REPORTED:])
        header = {"context": context, "lost": lost, "omitted": self.omitted + more}
        return [*encode_record(header), *self.encode_variables()]

    def encode_variables(self) -> list[bytes | memoryview]:
        """Return the records of its cells and variables, in pieces."""
        records = [(CELLS, self.cells), *self.variables] if self.cells and self.variables else self.variables
        return [piece for name, content in records for piece in encode_record({"name": name}, content)]


@dataclass(slots=True, eq=False)
class Report:
    """Report on the variables that were restored and those that were lost.

    Attributes:
        kept: Contexts and names of restored variables.
        lost: Contexts, names ("" for all of a context's) and reasons.
        omitted: Numbers of further kept and lost variables.
        problem: Why no variable could be restored, or "".
    """

    kept: list[tuple[str, str]] = field(default_factory=list)
    lost: list[tuple[str, str, str]] = field(default_factory=list)
    omitted: list[int] = field(default_factory=lambda: [0, 0])
    problem: str = ""

    def keep(self, context: str, name: str) -> None:
        """Add a restored variable."""
        if len(self.kept) < MAX_REPORTED:
            self.kept.append((context, name[:_MAX_NAME]))
        else:
            self.omitted[0] += 1

    def lose(self, context: str, name: str, why: str) -> None:
        """Add a lost variable."""
        if len(self.lost) < MAX_REPORTED:
            self.lost.append((context, name[:_MAX_NAME], why[:_MAX_REASON]))
        else:
            self.omitted[1] += 1

    def as_object(self) -> dict[str, Any]:
        """Return the report as an object of the link."""
        return {"kept": self.kept, "lost": self.lost, "omitted": self.omitted, "problem": self.problem}


@dataclass(slots=True, eq=False)
class Outcome:
    """The answer of an interpreter that saved or loaded variables (`python.pickling`).

    Attributes:
        names: All variables, if it could list them.
        saved: Pickles by name.
        restored: Names of loaded variables.
        lost: Reasons by name.
        cells: The sources of its cells.
    """

    names: list[str] = field(default_factory=list)
    saved: dict[str, memoryview] = field(default_factory=dict)
    restored: set[str] = field(default_factory=set)
    lost: dict[str, str] = field(default_factory=dict)
    cells: bytes | memoryview = b""


def read_outcome(body: bytes | bytearray) -> Outcome:
    """Read an interpreter's answer as far as possible: it may have been killed in the middle, or send nonsense."""
    outcome = Outcome()
    try:
        for header, content in read_records(body, is_whole=False):
            name, why = header.get("name"), header.get("lost")
            if not isinstance(name, str):
                outcome.names = [str(one)[:_MAX_NAME] for one in header.get("names") or ()]
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
    """Return saved contexts.

    Raises:
        RecordError: The bytes are not from `Section.encode`.
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
        if (
            not (id_ in DEFAULT_IDS or _CREATED_ID.fullmatch(id_))
            or language not in LANGUAGES
            or not isinstance(cwd, str)
        ):
            raise RecordError("a context with an unknown id or language")
        lost = [(str(name), str(why)) for name, why in header["lost"]]
        return Section(
            id_, language, cwd, read_env(context["env"]), int(count), lost=lost, omitted=int(header["omitted"])
        )
    except (KeyError, TypeError, ValueError, OperationError) as error:
        raise RecordError(f"a context is malformed: {error}") from error
