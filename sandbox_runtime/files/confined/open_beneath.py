"""Opens the folder of a path without letting any symlink lead out of its root.

openat2 comes first. It cannot decide everything: absolute symlinks that stay inside, paths over PATH_MAX, folders to
create, kernels without it. Those paths are walked here, one component at a time. Each component is opened without
following links. A link's target is put in front of the remaining components. `..` is resolved from the names walked so
far, never by the kernel, so swapping a folder meanwhile leads nowhere else.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sandbox_link.protocol import OperationError
from sandbox_runtime.files.confined.errors import to_operation_error
from sandbox_runtime.files.confined.path_checks import Parts, below_root, confine, join, outside, to_text
from sandbox_runtime.linux import syscalls

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_SYMLINKS: Final = 40
_MAX_STEPS: Final = 65_536
_MAX_SPELLING: Final = 64
"""Components of an absolute path up to which the root is searched in it."""
_PATH_MAX: Final = 4096
_FOLDER: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER_MODE: Final = 0o755


@dataclass(frozen=True, slots=True)
class Lookup:
    """Options for looking up a path.

    Attributes:
        follow: Follow symlinks on the way that stay inside. If False, they are an error.
        follow_last: Follow a symlink at the end. If False, the link itself is meant.
        make_parents: Create missing folders on the way.
    """

    follow: bool = True
    follow_last: bool = True
    make_parents: bool = False


THROUGH: Final = Lookup()
"""For reading and listing."""
ITSELF: Final = Lookup(follow_last=False)
"""For stat, remove and move: a symlink at the end is meant itself."""
STRICT: Final = Lookup(follow=False, follow_last=False)
"""For saving and restoring: no symlink on the way."""


@dataclass(frozen=True, slots=True)
class Location:
    """A name in an open folder. `name` is `.` for the root."""

    folder: int
    name: bytes

    def stat(self) -> os.stat_result:
        """Return the status of the file, without following a symlink."""
        return os.stat(self.name, dir_fd=self.folder, follow_symlinks=False)

    def make_folder(self) -> None:
        """Create the folder unless it exists.

        Raises:
            NotADirectoryError: Something else has the name.
        """
        if self.name == b".":
            return
        try:
            os.mkdir(self.name, _FOLDER_MODE, dir_fd=self.folder)
        except FileExistsError:
            if not stat.S_ISDIR(self.stat().st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None


class FileRoot:
    """A folder that operations are confined to: the workspace, /tmp or the home folder. Keeps nothing open.

    Attributes:
        title: The root in messages.
        prefix: What stands before a path below the root in answers: nothing for the workspace, else the absolute root.
    """

    def __init__(self, root: Path, title: str = "", *, is_workspace: bool = True) -> None:
        self._root = os.fsencode(root.absolute())
        self._roots = tuple(dict.fromkeys((self._root, os.path.realpath(self._root))))
        self.title = title or f"the workspace ({root.absolute()})"
        self.prefix = b"" if is_workspace else self._root.rstrip(b"/") + b"/"

    def confine(self, text: object, field: str = "path") -> Parts:
        """Confine a path to this root, as `path_checks.confine` does.

        An absolute path may also lead to the root through symlinks.
        """
        try:
            return confine(text, self._roots, field)
        except OperationError:
            if not isinstance(text, str) or not text.startswith("/") or (below := self.find_below(text)) is None:
                raise
        return confine(below, self._roots, field)

    def spelled(self, text: str, field: str = "path") -> Parts:
        """Confine an absolute path that names this root as it is configured, or without symlinks."""
        return confine(text, self._roots, field)

    def describe(self, parts: Parts) -> str:
        """Return a path for answers: relative to the workspace, or absolute in another root."""
        if not self.prefix:
            return join(parts)
        return to_text(self.prefix + b"/".join(parts)) if parts else to_text(self.prefix[:-1]) or "/"

    def find_below(self, text: str, *, itself: bool = True) -> str | None:
        """Return the part of an absolute path below the root. Returns None if no folder on its way is the root.

        Args:
            text: The path.
            itself: Whether the path may lead to the root itself. Otherwise it must lead to something in it.
        """
        names = [name for name in text.split("/") if name not in ("", ".")]
        if ".." in names or len(names) > _MAX_SPELLING:
            return None
        with contextlib.suppress(OSError, ValueError):
            root = os.stat(self._root)  # noqa: PTH116 - bytes
            for count in range(1, len(names) + itself):
                found = Path("/", *names[:count]).stat()
                if (found.st_dev, found.st_ino) == (root.st_dev, root.st_ino):
                    return "/".join(names[count:]) or "."
        return None

    @contextlib.contextmanager
    def locate(self, parts: Parts, lookup: Lookup = THROUGH, field: str = "path") -> Iterator[Location]:
        """Open the folder of a path's last component, and close it at the end.

        Raises:
            OperationError: Symlinks lead outside, or something on the way is missing or not a folder. An OSError in the
                body is raised as OperationError too, naming `field`.
        """
        try:
            folder, name = self._open_parent(parts, lookup, field)
            try:
                yield Location(folder, name)
            finally:
                os.close(folder)
        except OSError as error:
            raise to_operation_error(error, field, root=self.title) from error

    def _open_parent(self, parts: Parts, lookup: Lookup, field: str) -> tuple[int, bytes]:
        root = os.open(self._root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        if not parts:
            return root, b"."
        try:
            found = _try_at_once(root, parts, lookup)
            if found is not None:
                return found, parts[-1]
            resolver = _Resolver(root, self._roots, lookup, field)
            try:
                return resolver.run(parts)
            except BaseException:
                resolver.close()
                raise
        finally:
            os.close(root)


def _try_at_once(root: int, parts: Parts, lookup: Lookup) -> int | None:
    """Open the parent with one openat2. Returns None if that cannot decide."""
    parent = b"/".join(parts[:-1]) or b"."
    if not lookup.follow or len(parent) >= _PATH_MAX:
        return None
    try:
        folder = syscalls.open_beneath(parent, os.O_PATH | os.O_DIRECTORY, root)
    except OSError:
        return None
    try:
        is_decided = not lookup.follow_last or _read_link(folder, parts[-1]) is None
    except BaseException:
        os.close(folder)
        raise
    if is_decided:
        return folder
    os.close(folder)
    return None


def _read_link(folder: int, name: bytes) -> bytes | None:
    """Return a symlink's target; None for anything else."""
    try:
        return os.readlink(name, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT, errno.ENAMETOOLONG):
            return None
        raise


class _Resolver:
    """Resolves one path, component by component. Keeps one folder open, however deep the path is."""

    def __init__(self, root: int, roots: tuple[bytes, ...], lookup: Lookup, field: str) -> None:
        self._root = root
        self._roots = roots
        self._lookup = lookup
        self._field = field
        self._walked: list[bytes] = []
        self._pending: deque[bytes] = deque()
        self._folder: int | None = os.dup(root)
        self._links = 0
        self._steps = 0

    def close(self) -> None:
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None

    def run(self, parts: Parts) -> tuple[int, bytes]:
        """Return the open parent, which the caller closes, and the last name in it: `.` if a link ends on a folder."""
        self._pending.extend(parts)
        while self._pending:
            name = self._pending.popleft()
            if name == b"..":
                self._leave()
                continue
            if not self._pending:
                if not self._lookup.follow_last or not self._follow(name):
                    return self._take(), name
            elif not self._enter(name) and not self._follow(name):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        return self._take(), b"."

    def _take(self) -> int:
        folder, self._folder = self._open_folder(), None
        return folder

    def _open_folder(self) -> int:
        """Return the current folder. After a `..` it is opened again from the root."""
        if self._folder is None:
            self._folder = os.dup(self._root)
            for name in self._walked:
                self._step_into(name)
        if self._folder is None:  # pragma: no cover - for the type checker
            raise AssertionError
        return self._folder

    def _step_into(self, name: bytes) -> None:
        self._steps += 1
        if self._steps > _MAX_STEPS:
            raise outside("the symlinks in {path} are too deep: give a path without them", self._field)
        folder = self._open_folder()
        self._folder = os.open(name, _FOLDER, dir_fd=folder)
        os.close(folder)

    def _enter(self, name: bytes) -> bool:
        """Enter a folder. Returns False if the name is something else."""
        self._open_folder()
        try:
            self._step_into(name)
        except FileNotFoundError:
            if not self._lookup.make_parents:
                raise
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, _FOLDER_MODE, dir_fd=self._open_folder())
            self._step_into(name)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                return False
            raise
        self._walked.append(name)
        return True

    def _leave(self) -> None:
        if not self._walked:
            raise outside("a symlink in {path} leads out of its root folder: give a path inside", self._field)
        self._walked.pop()
        self.close()

    def _follow(self, name: bytes) -> bool:
        """Put a symlink's target in front of the remaining components. Returns False if the name is not a symlink."""
        target = _read_link(self._open_folder(), name)
        if target is None:
            return False
        self._links += 1
        if not self._lookup.follow:
            raise outside(
                "{path} goes through a symlink, which this call does not follow: give the path of its target",
                self._field,
            )
        if self._links > MAX_SYMLINKS:
            raise outside(
                f"{{path}} goes through more than {MAX_SYMLINKS} symlinks: give the path of the target", self._field
            )
        if target.startswith(b"/"):
            below = below_root(target, self._roots)
            if below is None:
                raise outside("a symlink in {path} leads out of its root folder: give a path inside", self._field)
            self._walked.clear()
            self.close()
            target = below
        names = [part for part in target.split(b"/") if part not in (b"", b".")]
        self._pending.extendleft(reversed(names))
        return True
