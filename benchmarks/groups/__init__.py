"""The measures, a module for each group. Its `build(lab)` prepares the group and returns its measures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.groups import contexts, execute, figures, files, floods, interrupt, javascript, limits, memory, output

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.lab import Lab
    from benchmarks.measuring import Measure

GROUPS: Final[Mapping[str, Callable[[Lab], list[Measure]]]] = {
    "execute": execute.build,
    "contexts": contexts.build,
    "output": output.build,
    "figures": figures.build,
    "interrupt": interrupt.build,
    "javascript": javascript.build,
    "files": files.build,
    "memory": memory.build,
    "limits": limits.build,
    "floods": floods.build,
}
"""The function that builds each group, by its name for `--only`."""
