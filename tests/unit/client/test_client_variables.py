"""How it is told what a wake brought back."""

import pytest

from sandbox_client import AsyncSandbox, KeptVariables, LostVariable
from sandbox_proto.v1 import interpreter_pb2

MANY = tuple(("python", f"v{number}") for number in range(20))


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        (KeptVariables(), "0 variables were kept"),
        (KeptVariables(problem="the store is down"), "its variables were lost: the store is down"),
        (KeptVariables((("python", "a"), ("ctx-1", "b"))), "2 variables were kept (a, b of ctx-1)"),
        (
            KeptVariables(lost=(LostVariable("javascript", "", "Python alone"),)),
            "0 variables were kept; lost: all of javascript (Python alone)",
        ),
        (
            KeptVariables(MANY, kept_omitted=80),
            f"100 variables were kept ({', '.join(name for _, name in MANY[:12])} and 88 more)",
        ),
        (
            KeptVariables(lost=(LostVariable("python", "x", "e" * 500),), lost_omitted=4),
            f"0 variables were kept; lost: x ({'e' * 100}) and 4 more",
        ),
    ],
    ids=["none", "problem", "two", "a whole context", "many", "long"],
)
def test_a_notice_names_a_few_and_counts_the_others(variables, told):
    assert variables.describe() == told


async def test_a_session_that_did_not_sleep_has_nothing_to_tell(agent):
    async with AsyncSandbox(agent.endpoint) as sandbox:
        assert await sandbox.contexts.kept_variables() is None
        agent.variables = interpreter_pb2.KeptVariables(kept_omitted=3, problem="p")
        assert await sandbox.contexts.kept_variables() == KeptVariables(kept_omitted=3, problem="p")
