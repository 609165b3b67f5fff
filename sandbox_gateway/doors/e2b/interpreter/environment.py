"""Cells that set the environment variables of another cell, and take them back. Pure: no I/O."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


_OLD: Final = "__sandbox_old_"
"""Beginning of the names of bash variables with old values."""


def set_variables(language: str, env: Mapping[str, str]) -> str:
    """Return the cell that sets variables, and prints what they were before: an object whose values may be null."""
    given = json.dumps(dict(env))
    if language == "python":
        # An expression leaves no name behind.
        return (
            "print((lambda json, environ: (lambda new: json.dumps([{name: environ.get(name) for name in new}, "
            "environ.update(new)][0]))(json.loads(" + repr(given) + ")))"
            "(__import__('json'), __import__('os').environ))"
        )
    if language == "bash":
        # The shell itself keeps the old values, and prints only the names.
        keep = (f'if [ -n "${{{name}+x}}" ]; then {_OLD}{name}=${name}; fi' for name in env)
        new = (f"export {name}={shlex.quote(value)}" for name, value in env.items())
        return "\n".join([*keep, *new, f"printf '%s\\n' {shlex.quote(json.dumps(dict.fromkeys(env)))}"])
    return (
        f"console.log(((given) => {{ const before = {{}}; for (const [name, value] of Object.entries(given)) "
        f"{{ before[name] = process.env[name] ?? null; process.env[name] = value }}; "
        f"return JSON.stringify(before) }})({given}))"
    )


def read_variables(output: str) -> tuple[str, dict[str, str | None] | None]:
    """Return what the cell of `set_variables` printed: output that came late from other cells, and the old values.

    The values are None if the cell failed.
    """
    late, _, line = output.rstrip("\n").rpartition("\n")
    try:
        before = json.loads(line)
    except ValueError:
        before = None
    if not isinstance(before, dict):
        return output, None
    return late and f"{late}\n", before


def restore_variables(language: str, before: Mapping[str, str | None]) -> str:
    """Return the cell that gives variables the values that they had before."""
    given = json.dumps(dict(before))
    if language == "python":
        return (
            "print(end=str((lambda environ, old: ([environ.pop(name, None) for name in old], "
            "environ.update({name: value for name, value in old.items() if value is not None}), '')[2])"
            "(__import__('os').environ, __import__('json').loads(" + repr(given) + "))))"
        )
    if language == "bash":
        return "\n".join(
            f'if [ -n "${{{_OLD}{name}+x}}" ]; then export {name}=${_OLD}{name}; else unset {name}; fi\n'
            f"unset {_OLD}{name}"
            for name in before
        )
    return (
        f"void Object.entries({given}).forEach(([name, value]) => "
        f"{{ if (value === null) delete process.env[name]; else process.env[name] = value }})"
    )
