"""Describes the machine of a measurement, without naming it."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version


def describe_machine() -> str:
    """Return cores, architecture, kernel, Python, relevant package versions, and the load average in one line."""
    cores = len(os.sched_getaffinity(0))
    packages = ", ".join(f"{name} {version(name)}" for name in ("grpcio", "ipykernel", "jupyter-client"))
    release = ".".join(platform.release().split("-")[0].split(".")[:2])
    return (
        f"{cores} cores, {platform.machine()}, {platform.system()} {release}, "
        f"Python {platform.python_version()}, {packages}, load {os.getloadavg()[0]:.0f}"
    )
