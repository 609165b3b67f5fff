"""A process of its own that looks for lines which match a pattern.

A regular expression may take for ever, and this process can be killed. Standard library only, and nothing of this
package: it is started by its path (`searching`).

On the socket that is its standard input: first a JSON object {"pattern", "literal", "ignore_case"}, answered by
{"error": null or text}; then, for each file, a descriptor with a JSON object {"most": lines}, answered by
{"lines": [[number, text], ...], "is_binary": bool}. One JSON object a line.
"""

from __future__ import annotations

import json
import os
import re
import socket
from typing import Any

TEXT = 500
"""Characters of a line that are told."""
LONGEST = 1 << 20
"""Characters of a line that are looked at."""
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
                _answer(peer, search_file(file, pattern, json.loads(message)["most"]))


def compile_pattern(question: dict[str, Any]) -> re.Pattern[str]:
    """The pattern of the first message.

    Raises:
        re.error: It is no regular expression.
    """
    text = re.escape(question["pattern"]) if question["literal"] else question["pattern"]
    return re.compile(text, re.IGNORECASE if question["ignore_case"] else 0)


def search_file(file: Any, pattern: re.Pattern[str], most: int) -> dict[str, Any]:
    """At most so many matching lines of an open binary file; one with a NUL near its beginning is binary."""
    found: list[list[Any]] = []
    number, rest = 0, b""
    block = file.read(_BLOCK)
    if b"\0" in block[:_PEEK]:
        return {"lines": [], "is_binary": True}
    while (block or rest) and len(found) < most:
        whole = rest + block
        # Without a line's end in sight a line is cut where its rest would not be looked at anyway.
        end = whole.rfind(b"\n") + 1 if block else len(whole)
        if not end and len(whole) > 4 * LONGEST:
            end = len(whole)
        rest = whole[end:]
        for line in whole[:end].split(b"\n")[: None if end == len(whole) and not whole.endswith(b"\n") else -1]:
            number += 1
            text = line[: 4 * LONGEST].decode("utf-8", "replace").rstrip("\r")[:LONGEST]
            if pattern.search(text):
                found.append([number, text[:TEXT]])
                if len(found) >= most:
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
