"""Runs inside a sandbox, as its user code: looks for words everywhere it may read, and prints where it found them.

Standard library only. Arguments: name=hex of each word; hex, so that the search does not find itself. It reads every
regular file below / (its first 64 MiB), the environment and command line of every process, and the resident memory of
every other process.
"""

import json
import os
import re
import stat
import sys

_FILE_BYTES = 64 << 20
_REGION_BYTES = 256 << 20
_CHUNK = 1 << 20
_OVERLAP = 256


class Search:
    """What is looked for, where it was found, and how much was read."""

    def __init__(self, words: dict[str, bytes]) -> None:
        self.hits: dict[str, set[str]] = {name: set() for name in words}
        self.read = {"files": 0, "processes": 0, "memories": 0}
        self._words = words

    def look(self, place: str, content: bytes) -> None:
        for name, word in self._words.items():
            if word in content:
                self.hits[name].add(place)

    def look_into(self, place: str, path: str, offset: int = 0, size: int = _FILE_BYTES) -> bool:
        """Read a file, or a part of it; whether it could be read."""
        try:
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - the offset may be beyond what pathlib's reads take
                file.seek(offset)
                tail = b""
                while size > 0 and (content := file.read(min(size, _CHUNK))):
                    self.look(place, tail + content)
                    tail = content[-_OVERLAP:]
                    size -= len(content)
        except (OSError, ValueError, OverflowError):
            return False
        return True


def search_files(search: Search) -> None:
    for folder, folders, names in os.walk("/"):
        if folder == "/":
            folders[:] = [name for name in folders if name not in {"proc", "sys", "dev"}]
        for name in names:
            path = os.path.join(folder, name)  # noqa: PTH118 - os.walk's own kind of path
            try:
                regular = stat.S_ISREG(os.lstat(path).st_mode)
            except OSError:
                continue
            if regular:
                search.read["files"] += search.look_into(path, path)


def search_processes(search: Search) -> None:
    for process in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - same
        here = f"/proc/{process}"
        search.read["processes"] += search.look_into(f"{here}/environ", f"{here}/environ")
        search.look_into(f"{here}/cmdline", f"{here}/cmdline")
        if int(process) != os.getpid():
            search.read["memories"] += search_memory(search, here)


def search_memory(search: Search, here: str) -> bool:
    """Every resident region of a process; whether any could be read."""
    try:
        with open(f"{here}/smaps") as file:  # noqa: PTH123 - same
            text = file.read()
    except OSError:
        return False
    regions = re.findall(r"^([0-9a-f]+)-([0-9a-f]+) r\S+ .*\n(?:.*\n)*?Rss: +([1-9][0-9]*) kB", text, re.MULTILINE)
    done = False
    for first, last, _ in regions:
        begin, end = int(first, 16), int(last, 16)
        done |= search.look_into(f"{here}/mem", f"{here}/mem", begin, min(end - begin, _REGION_BYTES))
    return done


def main() -> None:
    words = (argument.split("=", 1) for argument in sys.argv[1:])
    search = Search({name: bytes.fromhex(word) for name, word in words})
    search_processes(search)
    search_files(search)
    hits = {name: sorted(places) for name, places in search.hits.items()}
    sys.stdout.write(json.dumps({"hits": hits, "read": search.read}))


if __name__ == "__main__":
    main()
