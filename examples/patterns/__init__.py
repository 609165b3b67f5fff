"""Six typical uses of a code interpreter by an agent, each a separate program: `python -m examples.patterns.charts`.

`tests/integration/test_patterns.py` runs them and checks the numbers.
"""

import importlib.util
import sys


def require(**packages: str) -> None:
    """Exit with the command that installs what is missing. `make demo` installs only what a local session needs.

    Args:
        **packages: The name to install, by the module's name.
    """
    missing = [package for module, package in packages.items() if importlib.util.find_spec(module) is None]
    if missing:
        names = " ".join(missing)
        sys.exit(f"This example needs {names}: {sys.executable} -m pip install {names}")
