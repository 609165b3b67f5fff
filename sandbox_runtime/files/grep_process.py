"""A process that searches files for lines that match a pattern.

A regular expression may run forever, and this process can be killed. `search` starts it by its path, so it imports
nothing of this package: standard library only.

Protocol, on the socket that is its standard input, with one JSON object per line: first {"pattern", "literal",
"ignore_case"}, answered by {"error": null or text}. Then, for each file, a descriptor with {"max_lines": count},
answered by {"lines": [[number, text], ...], "is_binary": bool}.
"""

from __future__ import annotations

import json
import os
import re
import socket
from typing import Any

MAX_TEXT = 500
"""Characters of a matching line that are returned."""
MAX_LINE = 1 << 20
"""Characters of a line that are searched."""
_BLOCK = 1 << 20
_PEEK = 8192


def main() -> None:
    """Serve until the other side closes."""
    with socket.socket(fileno=0) as peer:
        question = json.loads(_receive(peer)[0])
        try:
            pattern = compile_pattern(question)
        except (re.error, OverflowError, RecursionError) as error:
            _answer(peer, {"error": str(error)[:500]})
            return
        _answer(peer, {"error": None})
        while True:
            message, descriptors = _receive(peer)
            if not descriptors:
                return
            with os.fdopen(descriptors[0], "rb", buffering=0) as file:
                _answer(peer, search_file(file, pattern, json.loads(message)["max_lines"]))


def compile_pattern(question: dict[str, Any]) -> re.Pattern[str]:
    """Compile the pattern of the first message.

    Raises:
        re.error: The pattern is not a regular expression.
    """
    text = re.escape(question["pattern"]) if question["literal"] else question["pattern"]
    return re.compile(text, re.IGNORECASE if question["ignore_case"] else 0)


def search_file(file: Any, pattern: re.Pattern[str], max_lines: int) -> dict[str, Any]:
    """Return at most `max_lines` matching lines of an open file. A file with a NUL near its beginning is binary."""
    found: list[list[Any]] = []
    number, rest = 0, b""
    block = file.read(_BLOCK)
    if b"\0" in block[:_PEEK]:
        return {"lines": [], "is_binary": True}
    while (block or rest) and len(found) < max_lines:
        whole = rest + block
        # A line that is too long is cut where its rest would not be searched anyway.
        end = whole.rfind(b"\n") + 1 if block else len(whole)
        if not end and len(whole) > 4 * MAX_LINE:
            end = len(whole)
        rest = whole[end:]
        for line in whole[:end].split(b"\n")[: None if end == len(whole) and not whole.endswith(b"\n") else -1]:
            number += 1
            text = line[: 4 * MAX_LINE].decode("utf-8", "replace").rstrip("\r")[:MAX_LINE]
            if pattern.search(text):
                found.append([number, text[:MAX_TEXT]])
                if len(found) >= max_lines:
                    break
        block = file.read(_BLOCK) if block else b""
    return {"lines": found, "is_binary": False}


def _receive(peer: socket.socket) -> tuple[bytes, list[int]]:
    message = b""
    descriptors: list[int] = []
    while not message.endswith(b"\n"):
        data, more, _, _ = socket.recv_fds(peer, 1 << 16, 1)
        descriptors += more
        if not data:
            break
        message += data
    return message, descriptors


def _answer(peer: socket.socket, value: dict[str, Any]) -> None:
    peer.sendall(json.dumps(value).encode() + b"\n")


if __name__ == "__main__":
    main()
