# noqa: INP001 - a program, no package
"""Writes the project's version where `importlib.metadata` finds it, because an image only copies the sources.

Usage: metadata.py PYPROJECT SITE_PACKAGES
"""

import sys
import tomllib
from pathlib import Path


def main() -> None:
    """Write the package's metadata."""
    pyproject, site_packages = map(Path, sys.argv[1:])
    project = tomllib.loads(pyproject.read_text())["project"]
    name, version = project["name"], project["version"]
    folder = site_packages / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


if __name__ == "__main__":
    main()
