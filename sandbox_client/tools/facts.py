"""States the facts of a session to the model: isolation, network, time, memory. Pure: no I/O.

A description claims only what is known. A model that wrongly believes in isolation harms its user. One that does not
know about a missing network tries `pip install` again and again.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from sandbox_client.errors import InvalidArgument
from sandbox_client.models.missing_network import NO_NETWORK, names_no_network
from sandbox_client.models.sizes import format_size, read_size
from sandbox_client.tools.schemas import TOOL_SPECS, ToolSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_client.tools.results import ToolResult

SOME_NETWORK: Final = "this session reaches only the addresses that its administrator allows"
_ABOUT: Final = (
    "A session that runs Python, JavaScript, TypeScript and shell commands. Variables and files persist between calls. "
    "Files that should outlive the session must be saved to the workspace (output_filename, ci_push_to_workspace)."
)
_NETWORK_COMMAND: Final = re.compile(
    r"\b(?:npm|npx|yarn|pnpm|pip3?|uv|apt(?:-get)?|conda|cargo|go|gem)\b.*\b(?:install|i|ci|add|update|download|get|sync)\b|"
    r"\b(?:curl|wget|ssh|git\s+(?:clone|fetch|pull|push))\b",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """The facts of a session that are known before it is opened.

    Attributes:
        is_isolated: True for a pod, False for a local session, None if unknown.
        network: `public`, `none`, or `some` if only some addresses are allowed. "" if unknown.
        time_limit: Seconds that a cell or command may take, or None if unknown.
        memory_limit: Bytes that all processes of the session may use together, or None if unknown.
    """

    is_isolated: bool | None = None
    network: Literal["public", "none", "some", ""] = ""
    time_limit: float | None = None
    memory_limit: int | None = None

    @property
    def sentences(self) -> tuple[str, ...]:
        """The facts, a sentence each. Nothing is said about what is unknown."""
        isolation = {
            True: "The session is isolated from the user's machine: it is a pod of its own in a cluster.",
            False: "Nothing is isolated: code and commands run on the user's machine, with the user's rights. Do not "
            "touch files outside the working folder unless the user asks for it.",
            None: "",
        }[self.is_isolated]
        network = {
            "public": "The network is available: pip install NAME works, and so do downloads and web requests.",
            "none": "There is no network: pip install, npm install, downloads and web requests fail. Use the installed "
            "packages (pip list).",
            "some": "Only the addresses that an administrator allowed can be reached. pip install may fail.",
            "": "pip install NAME works if the session has a network.",
        }[self.network]
        time = memory = ""
        if self.time_limit is not None:
            time = f"A call is stopped after {self.time_limit:g} seconds. Split longer work into several calls."
        if self.memory_limit is not None:
            memory = (
                f"All processes together may use {format_size(self.memory_limit)} of memory. What needs more is killed."
            )
        return tuple(sentence for sentence in (isolation, network, time, memory) if sentence)


def describe_tools(facts: SessionFacts) -> tuple[ToolSpec, ...]:
    """Return the seven tools, with the facts in the descriptions of those that run code."""
    lines = "".join(f"\n- {sentence}" for sentence in facts.sentences)
    return tuple(
        dataclasses.replace(
            spec,
            description=f"{spec.description}\n\nThis session:{lines}",
            is_open_world=facts.network != "none",
        )
        if spec.is_open_world
        else spec
        for spec in TOOL_SPECS
    )


def describe_session(facts: SessionFacts) -> str:
    """Return instructions for a model that has the seven tools."""
    return " ".join((_ABOUT, *facts.sentences))


def may_lack_network(result: ToolResult) -> bool:
    """Return whether a result may be that of a missing network."""
    value = result.value
    if isinstance(value, str):
        return names_no_network(value)
    if not isinstance(value, dict) or "code_snippet" not in value:
        return False
    texts = [text for text in value.values() if isinstance(text, str)]
    # npm is silent for minutes, and `wget -q` for ever.
    return any(map(names_no_network, texts)) or _NETWORK_COMMAND.search(value["code_snippet"]) is not None


def explain_network(result: ToolResult, facts: SessionFacts) -> ToolResult:
    """Return the result of a missing network with a sentence that says so."""
    explanation = {"none": NO_NETWORK, "some": SOME_NETWORK}.get(facts.network, "")
    if not explanation:
        return result
    if isinstance(result.value, dict):
        error = f"{result.value.get('error', '')} ({explanation})"
        return dataclasses.replace(result, value={**result.value, "error": error})
    return dataclasses.replace(result, notice="; ".join(each for each in (result.notice, explanation) if each))


def read_facts(session: Mapping[str, Any], template: Mapping[str, Any]) -> SessionFacts:
    """Return the facts of a session of the cluster.

    Args:
        session: The SandboxSession's spec, empty if there is none yet.
        template: The SandboxTemplate's spec, empty if it cannot be read.
    """
    egress = session.get("egress") or (template.get("egress") or {}).get("mode", "None" if template else "")
    resources = session.get("resources") or (template.get("resources") or {}).get("default") or {}
    limits: Mapping[str, Any] = template.get("limits") or {}
    network: Any = {"Public": "public", "None": "none", "Allowlist": "some"}.get(str(egress), "")
    return SessionFacts(
        is_isolated=True,
        network=network,
        time_limit=_seconds(str(limits.get("executionTimeout") or ("300s" if template else ""))),
        memory_limit=_memory((resources.get("limits") or {}).get("memory")),
    )


def _seconds(text: str) -> float | None:
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|h|m|s)", text)
    return sum(float(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit] for number, unit in parts) or None


def _memory(quantity: Any) -> int | None:
    try:
        return read_size(quantity, "memory")
    except InvalidArgument:
        # A form of quantity that only Kubernetes reads, such as 2e9.
        return None
