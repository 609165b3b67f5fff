"""The snippets of README.md, as a reader copies them."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
CLUSTER = "<!-- needs a cluster -->"
_FENCE = re.compile(
    rf"^(?P<cluster>{re.escape(CLUSTER)}\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Snippet:
    """A fenced block: `sh` or `python`, and whether it needs a cluster."""

    language: str
    text: str
    needs_cluster: bool

    def __str__(self) -> str:
        return self.text.strip().split("\n")[0][:40]


def read_snippets(markdown: str) -> list[Snippet]:
    """All fenced blocks, in order; the comment above a block marks one that needs a cluster."""
    return [Snippet(m["language"], m["text"], bool(m["cluster"])) for m in _FENCE.finditer(markdown)]


SNIPPETS = read_snippets((ROOT / "README.md").read_text())
