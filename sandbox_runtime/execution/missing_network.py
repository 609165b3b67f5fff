"""Says in the error of a cell that its session has no network, if that caused the error."""

from __future__ import annotations

import re
from typing import Any, Final

LIMIT: Final = "network"
"""Name of the limit in the `error` event."""
_NOTE: Final = "  this session has no network"
_LAST_LINES: Final = 60
"""Lines of a traceback that are searched. The reason is near the end, or in a cause before it."""
_SIGNS: Final = re.compile(
    # Python: a socket that the filter refuses, and names that nothing resolves.
    r"_socket\.socket\.__init__|name resolution|Name or service not known|No address associated with hostname|"
    r"Failed to resolve|Network is unreachable|"
    # Node.
    r"(?:connect|bind) EACCES (?!/)|EAI_AGAIN|\bENOTFOUND\b"
)


def name_missing_network(event: dict[str, Any]) -> dict[str, Any]:
    """Return an `error` event with the limit `network` and a line that says so, if the lack of a network caused it.

    Args:
        event: The event of an interpreter, which may send anything.
    """
    traceback = event.get("traceback")
    if not isinstance(traceback, list) or event.get("limit"):
        return event
    texts = [*traceback[-_LAST_LINES:], event.get("value")]
    if not any(isinstance(text, str) and _SIGNS.search(text) for text in texts):
        return event
    return {**event, "limit": LIMIT, "traceback": [*traceback, _NOTE]}
