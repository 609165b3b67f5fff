"""docs/troubleshooting.md has every reason of a condition and every Event."""

import ast
import re
from pathlib import Path

import pytest

from sandbox_operator.pool.plan import REASONS as POOL_REASONS
from sandbox_operator.session.plan.deadlines import REASON_MESSAGES
from sandbox_operator.session.status import REASONS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/troubleshooting.md").read_text()


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def names(text: str) -> set[str]:
    """Reasons in the first column of the tables."""
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| ")]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def emitted() -> set[str]:
    """Reasons of the Events in the operator's sources."""
    found: set[str] = set()
    for path in (ROOT / "operator/sandbox_operator").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(attr="EmitEvent"), args=[ast.Constant(value=reason), *_]):
                    found.add(reason)
                case ast.Call(func=ast.Attribute(attr="EmitEvent"), args=[ast.Name(), *_]):
                    found |= set(REASON_MESSAGES)
    return found


def test_every_reason_of_a_session_is_listed_and_no_other():
    assert names(section("All reasons")) == set(REASONS)


def test_every_reason_of_a_pool_is_listed():
    assert set(POOL_REASONS) - set(re.findall(r"`(\w+)`", section("All reasons"))) == set()


def test_every_event_is_listed_and_no_other():
    assert len(emitted()) > 3
    assert names(section("All Events")) == emitted()


@pytest.mark.parametrize("reason", sorted(set(REASONS) - {"Ready"}))
def test_a_reason_that_keeps_a_session_from_working_belongs_to_a_symptom(reason):
    """Other reasons need no action: a state that the user asked for, or a step."""
    quiet = {
        "Suspending", "Suspended", "Idle", "Expired", "Terminating", "Scheduled", "Pending", "NoPod", "Bound",
        "NotBound", "Restored", "Synced", "IdleTimeoutUnreachable", "LifetimeCapped",
    }  # fmt: skip
    assert (f"`{reason}`" in PAGE.partition("\n## All reasons\n")[0]) != (reason in quiet)
