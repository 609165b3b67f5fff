# noqa: INP001 - a program, no package
"""Prints the part of constraints.txt that one image needs, hashes included.

`constraints.txt` pins every dependency of the project and names the packages that require it (`# via`). An image needs
only the dependencies of some extras of pyproject.toml, exactly as pinned, so that `pip install --require-hashes`
installs nothing else. Standard library only: this runs in the image's build stage.

Usage: pinned.py CONSTRAINTS PYPROJECT EXTRA[,EXTRA...] [PACKAGE...] (the extra `base` is the install without extras;
PACKAGE: further packages)
"""

import re
import sys
import tomllib
from pathlib import Path

_NAME = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)")


def normalized(name: str) -> str:
    """Return a package name as pip compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_pins(text: str) -> list[tuple[str, str, set[str]]]:
    """Return name, lines and requiring packages of each pin. Several pins of a package differ in Python's version."""
    pins = []
    block: list[str] = []
    for line in [*text.splitlines(), "end"]:
        if block and not line.startswith((" ", "#")):
            match = _NAME.match(block[0])
            if match:
                asked = {normalized(name) for row in block for name in re.findall(r"#\s+(?:via\s+)?([\w.-]+)", row)}
                pins.append((normalized(match.group(1)), "\n".join(block), asked))
            block = []
        block.append(line)
    return pins


def select_below(roots: set[str], pins: list[tuple[str, str, set[str]]]) -> list[str]:
    """Return the lines of all pins of `roots` and of what they need."""
    selected = set(roots)
    while True:
        more = {name for name, _, asked in pins if asked & selected} - selected
        if not more:
            return [lines for name, lines, _ in pins if name in selected]
        selected |= more


def main() -> None:
    """Print the requirements."""
    constraints, pyproject, extras, *further = sys.argv[1:]
    project = tomllib.loads(Path(pyproject).read_text())["project"]
    known = {**project["optional-dependencies"], "base": project["dependencies"]}
    wanted = [item for extra in extras.split(",") for item in known[extra]]
    roots = {normalized(match.group(1)) for item in [*wanted, *further] if (match := _NAME.match(item))}
    pins = read_pins(Path(constraints).read_text())
    roots.discard("sandbox-operator")
    missing = roots - {name for name, _, _ in pins}
    if missing:
        sys.exit(f"not in {constraints}: {', '.join(sorted(missing))}")
    sys.stdout.writelines(lines + "\n" for lines in select_below(roots, pins))


if __name__ == "__main__":
    main()
