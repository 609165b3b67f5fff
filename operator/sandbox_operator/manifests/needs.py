"""The use that a new pod adds to its namespace. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from sandbox_operator.api.quantities import parse_quantity
from sandbox_operator.manifests.pod import AGENT_RESOURCES

if TYPE_CHECKING:
    from sandbox_operator.api.session_spec import Resources


@dataclass(frozen=True, slots=True)
class Need:
    """An amount of each kind that the limits of a namespace count."""

    sessions: int = 0
    warm_pods: int = 0
    cpu: Decimal = Decimal(0)
    memory: Decimal = Decimal(0)


CLAIM: Final = Need(sessions=1)
"""The need of a session that claims a blank pod, whose CPU and memory count already."""


def need_of(resources: Resources, *, is_blank: bool) -> Need:
    """Return the need of a new pod, with its agent. A container without a limit counts as nothing, as in a quota."""
    limits, agent = resources.limits, AGENT_RESOURCES["limits"]
    cpu, memory = (parse_quantity(limits.get(kind, "0")) + parse_quantity(agent[kind]) for kind in ("cpu", "memory"))
    return Need(int(not is_blank), int(is_blank), cpu, memory)
