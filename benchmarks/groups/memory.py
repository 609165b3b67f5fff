"""Measures the memory of the agent, of one more context, and of transfers of large files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.lab import Lab
from benchmarks.measuring import Measure, at_most

if TYPE_CHECKING:
    import psutil

    from benchmarks.sides.session import Session

CONTEXTS: Final = 4
LARGE: Final = 5 << 30
QUICK_LARGE: Final = 256 << 20
_MIB: Final = 1 << 20


def build(lab: Lab) -> list[Measure]:
    """Build the measures, in MiB.

    They are the resident memory of a new session's agent and the private memory of a used Python context. The last one
    is the growth of the peak during a large transfer.
    """
    size = QUICK_LARGE if lab.is_quick else LARGE
    return [
        Measure(
            name="agent, idle after Bind",
            unit="MiB",
            sides={"ours": idle_agent},
            goals=[at_most(50, 25)],
            rounds=1,
            quick_rounds=1,
        ),
        Measure(
            name="one more Python context, idle, private",
            unit="MiB",
            sides={"ours": lambda: one_context(lab.session)},
            goals=[at_most(5, 2)],
            rounds=CONTEXTS,
            quick_rounds=CONTEXTS,
        ),
        Measure(
            name=f"growth of the session's peak over a file of {size >> 20} MiB, up and down",
            unit="MiB",
            sides={"ours": lambda: large_file(lab.session, lab.folder, size)},
            goals=[at_most(64)],
            rounds=1,
            quick_rounds=1,
        ),
    ]


def idle_agent() -> float:
    """Return the resident memory of the agent of a session that has run only its warm-up."""
    with Lab(is_quick=True) as fresh:
        return float(fresh.session.agent().memory_info().rss) / _MIB


def one_context(session: Session) -> float:
    """Return the private memory of a context's process after one cell."""
    context = session.sandbox.contexts.create("python")
    pid = int(session.execute("import os; print(os.getpid())", context=context.id).stdout)
    found: psutil.Process = next(process for process in session.processes() if process.pid == pid)
    private = float(found.memory_full_info().uss) / _MIB
    session.sandbox.contexts.delete(context.id)
    if pid == os.getpid():
        raise RuntimeError("the context runs in this process")
    return private


def large_file(session: Session, folder: Path, size: int) -> float:
    """Return the growth of the peak resident memory of agent and runtime together, during a transfer."""
    source, target = folder / "sparse.bin", folder / "back.bin"
    with source.open("wb") as file:
        file.truncate(size)
    # The first transfer needs some memory whatever its size. That does not count.
    session.sandbox.files.write("sparse.bin", b"first")
    before = _peaks(session)
    try:
        session.sandbox.files.upload(source, "sparse.bin")
        session.sandbox.files.download("sparse.bin", target)
        grown = float(sum(_peaks(session)) - sum(before)) / _MIB
        if target.stat().st_size != size:
            raise RuntimeError("the download differs in size from the upload")
    finally:
        session.sandbox.files.remove("sparse.bin")
        source.unlink()
        target.unlink(missing_ok=True)
    return grown


def _peaks(session: Session) -> list[int]:
    """Return the peak resident memory of agent and supervisor so far, in bytes. Interpreters come and go."""
    found = []
    for process in session.processes():
        if process.cmdline()[-1:] == ["sandbox_runtime"] or "serve" in process.cmdline():
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            found += [int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:")]
    if len(found) != len(("agent", "supervisor")):
        raise RuntimeError(f"found {len(found)} processes instead of agent and supervisor")
    return found
