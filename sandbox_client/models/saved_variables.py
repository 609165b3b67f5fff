"""The variables that survived a suspension (`lifecycle.keepVariables`), and the notice that describes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sandbox_proto.v1 import interpreter_pb2

RESUMED: Final = "the session was suspended and has been resumed"
MOVED: Final = "the session continues in another pod"
_MAX_NAMES: Final = 12
"""Maximum number of kept variables that a notice names, and of lost ones. It only counts the others."""
_MAX_REASON_LENGTH: Final = 100


@dataclass(frozen=True, slots=True)
class LostVariable:
    """A variable that could not be restored when the session was resumed.

    Attributes:
        context: Id of the context.
        name: The variable, or "" for all variables of the context.
        reason: Why it could not be saved or restored.
    """

    context: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class KeptVariables:
    """The fate of a session's variables when it was resumed.

    Attributes:
        kept: Context id and name of each restored variable, at most 300.
        lost: The variables that were not restored, at most 300.
        kept_omitted: How many more were restored.
        lost_omitted: How many more were lost.
        problem: Why no variable at all could be restored, or "".
    """

    kept: tuple[tuple[str, str], ...] = ()
    lost: tuple[LostVariable, ...] = ()
    kept_omitted: int = 0
    lost_omitted: int = 0
    problem: str = ""

    def describe(self) -> str:
        """Return a sentence for people."""
        if self.problem:
            return f"its variables were lost: {self.problem}"
        count = len(self.kept) + self.kept_omitted
        text = f"{count} {'variable was' if count == 1 else 'variables were'} kept"
        if count:
            text += f" ({_join((_qualified(*variable) for variable in self.kept), count)})"
        lost = len(self.lost) + self.lost_omitted
        if not lost:
            return text
        return f"{text}; lost: {_join((_describe_loss(variable) for variable in self.lost), lost)}"


def read_kept_variables(message: interpreter_pb2.KeptVariables) -> KeptVariables:
    """Convert a protocol message."""
    return KeptVariables(
        kept=tuple((variable.context_id, variable.name) for variable in message.kept),
        lost=tuple(LostVariable(lost.context_id, lost.name, lost.reason) for lost in message.lost),
        kept_omitted=message.kept_omitted,
        lost_omitted=message.lost_omitted,
        problem=message.problem,
    )


def describe_wake(variables: KeptVariables | None, what_happened: str = RESUMED) -> str:
    """Return the notice for a session that is in another pod than before.

    Args:
        variables: The fate of its variables, or None if the session does not keep variables.
        what_happened: The beginning of the notice: RESUMED or MOVED.
    """
    if variables is None:
        return f"{what_happened}: its saved files were kept; variables, installed packages and processes were lost"
    lost = "its saved files were kept; installed packages and processes were lost"
    return f"{what_happened}: {lost}; {variables.describe()}"


def _join(texts: Iterable[str], count: int) -> str:
    shown = [text for text, _ in zip(texts, range(_MAX_NAMES), strict=False)]
    more = count - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _describe_loss(lost: LostVariable) -> str:
    name = _qualified(lost.context, lost.name) if lost.name else f"all of {lost.context}"
    return f"{name} ({lost.reason[:_MAX_REASON_LENGTH]})"


def _qualified(context: str, name: str) -> str:
    return name if context == "python" else f"{name} of {context}"
