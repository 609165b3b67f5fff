"""What a push has to do, and what it and a restore compare. Pure: no I/O, no clock.

Both compare three things: what the sandbox holds (Local), what this sandbox knows to be stored (Entry), and the
signatures of files whose content is known to be the stored one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sandbox_agent.storage.repository.head import Before
from sandbox_agent.storage.repository.keys import ancestors, folders_of
from sandbox_agent.storage.repository.manifest import Entry, EntryType

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping


RACY_NS = 100_000_000
"""A file that changed less than this before it was looked at may change again without another signature: kernels
tick their file times in steps of some milliseconds."""


@dataclass(frozen=True, slots=True)
class Local:
    """One thing in the sandbox, as a scan found it."""

    path: str
    type: EntryType
    size: int
    mode: int
    mtime_ns: int
    ctime_ns: int
    ino: int
    symlink_target: str = ""

    @property
    def times(self) -> tuple[int, int, int, int]:
        """What changes whenever a file's content does."""
        return (self.size, self.mtime_ns, self.ctime_ns, self.ino)

    def as_entry(self, sha256: str = "", etag: str = "") -> Entry:
        """As it is described in a manifest."""
        size = self.size if self.type == "file" else 0
        return Entry(self.path, self.type, size, self.mode, self.mtime_ns, sha256, etag, self.symlink_target)


@dataclass(frozen=True, slots=True)
class Signature:
    """A file that had the stored content when it had these times."""

    times: tuple[int, int, int, int]
    is_settled: bool
    """False where a later change might have left the times alone: the content is compared before it is relied on."""


def sign(local: Local, seen_ns: int) -> Signature:
    """The signature of a file that was looked at, or read, at `seen_ns` (Unix time, the sandbox's clock)."""
    return Signature(local.times, seen_ns - max(local.ctime_ns, local.mtime_ns) > RACY_NS)


@dataclass(slots=True)
class PushPlan:
    """What a push does. A file stands in exactly one of `upload`, `compare` and `keep`."""

    upload: list[Local] = field(default_factory=list)
    """Content differs, or is new."""
    compare: list[Local] = field(default_factory=list)
    """May be unchanged: its digest decides."""
    keep: list[Entry] = field(default_factory=list)
    """Content is stored; described as it is now."""
    describe: list[Entry] = field(default_factory=list)
    """Symlinks and empty folders."""
    gone: list[str] = field(default_factory=list)
    """Stored before and not in the scan; they may still be there, outside of what was scanned."""


def plan_push(
    scanned: Iterable[Local], known: Mapping[str, Entry], signatures: Mapping[str, Signature], missing: Iterable[str]
) -> PushPlan:
    """Compare the sandbox with what is stored.

    Args:
        scanned: What the sandbox has, of what is to be pushed.
        known: What is stored.
        signatures: Of files known to have the stored content.
        missing: Paths that the sandbox has had and that no scan found: one that is stored was removed.
    """
    plan = PushPlan()
    for local in scanned:
        stored = known.get(local.path)
        if local.type != "file":
            plan.describe.append(local.as_entry())
        elif stored is None or stored.type != "file" or stored.size != local.size:
            plan.upload.append(local)
        else:
            signature = signatures.get(local.path)
            if signature is not None and signature.is_settled and signature.times == local.times:
                is_described = stored.mtime_ns == local.mtime_ns and stored.mode == local.mode
                plan.keep.append(stored if is_described else local.as_entry(stored.sha256, stored.etag))
            else:
                plan.compare.append(local)
    plan.upload.sort(key=lambda local: local.path)
    plan.gone = [path for path in missing if path in known]
    return plan


def is_settled(local: Local, entry: Entry | None, signature: Signature | None) -> bool:
    """Whether this entry describes what a scan found, so that it need not be looked at again until it changes."""
    if local.type != "file" or entry is None:
        return local.as_entry() == entry
    if signature is None or not signature.is_settled or signature.times != local.times:
        return False
    return entry.type == "file" and (entry.mtime_ns, entry.mode) == (local.mtime_ns, local.mode)


def is_same(new: Entry, old: Entry | None) -> bool:
    """Whether a manifest need not be written for the difference. A new time alone is none."""
    if old is None:
        return False
    if new is old:
        return True
    mode = old.mode if new.type == "symlink" else new.mode
    return replace(new, mtime_ns=old.mtime_ns, mode=mode) == old


def merge_entries(
    known: Mapping[str, Entry], local: Mapping[str, Entry], dropped: Collection[str], *, is_tree: bool = False
) -> dict[str, Entry]:
    """The next generation: what was stored, without what was dropped, under what the sandbox has.

    Where both cannot be (a file that is a folder now), what the sandbox has wins.

    Args:
        known: What was stored.
        local: What the sandbox has.
        dropped: Paths of `known`.
        is_tree: `known` is a generation as it was committed, whose paths are sorted and not in each other's way.
    """
    if is_tree and not dropped and local.keys() <= known.keys():
        return {**known, **local}
    folders = folders_of(local)
    leaves = {path for path, entry in local.items() if entry.type != "directory"}
    hidden = folders.union(dropped)
    # Mostly no file lies where a folder was, and no path has to be looked at by itself.
    blocked = leaves & folders_of(known)
    merged = {
        path: entry
        for path, entry in known.items()
        if path not in hidden and not (blocked and any(above in blocked for above in ancestors(path)))
    }
    merged.update(local)
    filled = folders_of(merged)
    return {path: merged[path] for path in sorted(merged) if path not in filled}


def before_of(entry: Entry | None) -> Before:
    """What a push has to remember of a path that it is about to upload."""
    if entry is None or entry.type != "file":
        return Before()
    return Before(entry.sha256, entry.etag)


def is_unchanged(local: Local | None, entry: Entry, known: Entry | None, signature: Signature | None) -> bool:
    """Whether the sandbox has a file as it is stored, as far as that can be told without reading."""
    if local is None or known is None or signature is None:
        return False
    if local.type != "file" or local.times != signature.times or not signature.is_settled:
        return False
    same_content = known.etag == entry.etag and entry.sha256 in {"", known.sha256}
    return same_content and local.mode & 0o777 == entry.mode & 0o777


def list_differing(
    scanned: Iterable[Local], known: Mapping[str, Entry], signatures: Mapping[str, Signature]
) -> Iterable[str]:
    """Paths that look other than what is stored; cheap, and may name a file whose content is the same."""
    for local in scanned:
        stored = known.get(local.path)
        if local.type != "file":
            if not is_same(local.as_entry(), stored):
                yield local.path
            continue
        signature = signatures.get(local.path)
        if stored is None or stored.type != "file" or stored.mode != local.mode:
            yield local.path
        elif signature is not None:
            if signature.times != local.times:
                yield local.path
        elif (stored.size, stored.mtime_ns) != (local.size, local.mtime_ns):
            yield local.path


def cut(failures: list[tuple[str, str]], most: int) -> list[tuple[str, str]]:
    """At most so many failures, the last one saying how many were left out."""
    if len(failures) <= most:
        return failures
    rest = len(failures) - most + 1
    return [*failures[: most - 1], ("", f"{rest} more files failed")]
