"""What a wake brought back of a session's variables (`lifecycle.keepVariables`), and how it is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sandbox_proto.v1 import interpreter_pb2

SLEPT: Final = "the session slept and was woken"
MOVED: Final = "the session goes on in another pod"
_NAMED: Final = 12
"""Names in a notice, of each kind; the others are counted."""
_LONGEST_REASON: Final = 100


@dataclass(frozen=True, slots=True)
class LostVariable:
    """A variable that a wake did not bring back."""

    context: str
    name: str
    """Empty: everything of the context."""
    reason: str


@dataclass(frozen=True, slots=True)
class KeptVariables:
    """What came of a session's variables when it was woken."""

    kept: tuple[tuple[str, str], ...] = ()
    """Context and name; at most 300."""
    lost: tuple[LostVariable, ...] = ()
    """At most 300."""
    kept_omitted: int = 0
    """How many more were kept."""
    lost_omitted: int = 0
    problem: str = ""
    """Why none could be brought back."""

    def describe(self) -> str:
        """In one sentence."""
        if self.problem:
            return f"its variables are lost: {self.problem}"
        count = len(self.kept) + self.kept_omitted
        told = f"{count} {'variable was' if count == 1 else 'variables were'} kept"
        if count:
            told += f" ({_listed((_qualified(*place) for place in self.kept), count)})"
        lost = len(self.lost) + self.lost_omitted
        if not lost:
            return told
        return f"{told}; lost are {_listed((_lost(one) for one in self.lost), lost)}"


def kept_variables(message: interpreter_pb2.KeptVariables) -> KeptVariables:
    """From the message."""
    return KeptVariables(
        kept=tuple((one.context_id, one.name) for one in message.kept),
        lost=tuple(LostVariable(one.context_id, one.name, one.reason) for one in message.lost),
        kept_omitted=message.kept_omitted,
        lost_omitted=message.lost_omitted,
        problem=message.problem,
    )


def describe_wake(variables: KeptVariables | None, what_happened: str = SLEPT) -> str:
    """The notice of a session that is in another pod than before; None: its variables were not to be kept."""
    if variables is None:
        return f"{what_happened}: its saved files are there, variables, installed packages and processes are not"
    return (
        f"{what_happened}: its saved files are there, installed packages and processes are not; {variables.describe()}"
    )


def _listed(texts: Iterable[str], count: int) -> str:
    shown = [text for text, _ in zip(texts, range(_NAMED), strict=False)]
    more = count - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _lost(one: LostVariable) -> str:
    name = _qualified(one.context, one.name) if one.name else f"all of {one.context}"
    return f"{name} ({one.reason[:_LONGEST_REASON]})"


def _qualified(context: str, name: str) -> str:
    return name if context == "python" else f"{name} of {context}"
