"""Findings of the checks, and the table that shows them. Pure: no I/O."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH: Final = 100
"""Columns of a table."""


class Level(StrEnum):
    """The outcome of a check."""

    OK = "ok"
    WARNING = "warning"
    """It works, but not as one would expect."""
    FAILED = "failed"
    SKIPPED = "skipped"
    """It could not be checked; the message says why."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check.

    Attributes:
        check: What was checked, in one or two words.
        level: The outcome.
        message: What was found.
        change: What to change, or "".
    """

    check: str
    level: Level
    message: str
    change: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return the finding for JSON."""
        return {"check": self.check, "level": self.level.value, "message": self.message, "change": self.change}


def ok(check: str, message: str) -> Finding:
    """Return a finding without a problem."""
    return Finding(check, Level.OK, message)


def warning(check: str, message: str, change: str) -> Finding:
    """Return a finding that does not fail the whole."""
    return Finding(check, Level.WARNING, message, change)


def failed(check: str, message: str, change: str) -> Finding:
    """Return a finding that fails the whole."""
    return Finding(check, Level.FAILED, message, change)


def skipped(check: str, message: str, change: str = "") -> Finding:
    """Return a finding of a check that could not be made."""
    return Finding(check, Level.SKIPPED, message, change)


def has_failed(findings: Sequence[Finding]) -> bool:
    """Return whether any check failed."""
    return any(finding.level is Level.FAILED for finding in findings)


def summarize(findings: Sequence[Finding]) -> str:
    """Return one line with the number of findings of each level."""
    counts = {level: sum(finding.level is level for finding in findings) for level in Level}
    return ", ".join(f"{count} {level.value}" for level, count in counts.items() if count)


def to_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return all findings, and whether the cluster is fit, for JSON."""
    return {"fit": not has_failed(findings), "findings": [finding.to_dict() for finding in findings]}


def format_table(findings: Sequence[Finding]) -> str:
    """Return the findings as a table, each with what to change below it, and the summary."""
    first = max((len(finding.check) for finding in findings), default=0)
    second = max(len(level.value) for level in Level)
    indent = first + second + 4
    lines: list[str] = []
    for finding in findings:
        head = f"{finding.check:<{first}}  {finding.level.value.upper():<{second}}  "
        lines += _wrap(head, finding.message, indent)
        if finding.change:
            lines += _wrap(" " * indent + "-> ", finding.change, indent + 3)
    return "\n".join([*lines, "", summarize(findings)])


def _wrap(head: str, text: str, indent: int) -> list[str]:
    # Names, addresses and commands stay in one piece, so that they can be copied.
    return textwrap.wrap(
        text,
        max(_WIDTH, indent + 40),
        initial_indent=head,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
