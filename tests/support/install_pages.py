"""The commands of the install pages, one by one."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs/install").glob("*.md")), ROOT / "docs/operations/upgrade.md"]
_WORDS = {"for", "do", "done"}


def commands(page: Path) -> list[list[str]]:
    """Return the words of each command in the shell blocks of a page. What is piped into a command is left out."""
    blocks = re.findall(r"^( *)```sh\n(.*?)^ *```", page.read_text(), re.DOTALL | re.MULTILINE)
    found = []
    for _, block in blocks:
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r" \| | && |; ", line.strip()):
                words = shlex.split(re.sub(r"^\w+=\$\((.*)\)$", r"\1", part), comments=True)
                while words and words[0] in _WORDS:
                    words = [] if words[0] == "for" else words[1:]
                if words and "=" not in words[0]:
                    found.append(words)
    return found


def values_of(words: list[str]) -> list[str]:
    """Return the values files of a helm command."""
    return [words[index + 1] for index, word in enumerate(words) if word == "--values"]
