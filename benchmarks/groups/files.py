"""Measures uploads and downloads of large files, compared with bare gRPC streams."""

from __future__ import annotations

import hashlib
import os
import time
from typing import TYPE_CHECKING, Final

from benchmarks.measuring import Measure, share_of_floor

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.lab import Lab
    from benchmarks.sides.session import Session

FULL: Final = 1 << 30
QUICK: Final = 128 << 20
_NAME: Final = "large.bin"
_BLOCK: Final = 4 << 20


def build(lab: Lab) -> list[Measure]:
    """Build the measures: MiB/s of a file from the page cache into the workspace, and back into a file."""
    session, bare = lab.session, lab.bare
    size = QUICK if lab.is_quick else FULL
    source = lab.folder / _NAME
    digest = _make_file(source, size)
    session.sandbox.files.upload(source, _NAME)
    label = f"{size >> 20} MiB"
    return [
        Measure(
            name=f"upload of {label}",
            unit="MiB/s",
            sides={"ours": lambda: _upload(session, source, size), "floor": lambda: bare.upload(size)},
            goals=[share_of_floor(0.7, 0.95)],
            rounds=5,
            quick_rounds=3,
        ),
        Measure(
            name=f"download of {label}",
            unit="MiB/s",
            sides={
                "ours": lambda: _download(session, lab.folder / "copy.bin", size, digest),
                "floor": lambda: bare.download(size),
            },
            goals=[share_of_floor(0.7, 0.95)],
            rounds=5,
            quick_rounds=3,
        ),
    ]


def _make_file(path: Path, size: int) -> str:
    digest = hashlib.sha256()
    block = os.urandom(_BLOCK)
    with path.open("wb") as file:
        for _ in range(size // _BLOCK):
            file.write(block)
            digest.update(block)
    return digest.hexdigest()


def _upload(session: Session, source: Path, size: int) -> float:
    start = time.perf_counter()
    info = session.sandbox.files.upload(source, _NAME)
    seconds = time.perf_counter() - start
    if info.size != size:
        raise RuntimeError(f"only {info.size} of {size} bytes arrived")
    return size / seconds / (1 << 20)


def _download(session: Session, target: Path, size: int, digest: str) -> float:
    target.unlink(missing_ok=True)
    start = time.perf_counter()
    session.sandbox.files.download(_NAME, target)
    seconds = time.perf_counter() - start
    with target.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != digest:
            raise RuntimeError("the download differs from the upload")
    return size / seconds / (1 << 20)
