"""Recognises the output of code that failed because its session has no network. Pure: no I/O."""

from __future__ import annotations

import re
from typing import Final

NO_NETWORK: Final = (
    "this session has no network, so downloads, web requests and installing packages cannot work in it; use what is "
    "installed"
)
_FAILED_NETWORK: Final = re.compile(
    r"Network is unreachable|ENETUNREACH|EAI_AGAIN|\bENOTFOUND\b|name resolution|Name or service not known|"
    r"No address associated with hostname|resolv(?:e|ing) (?:host|DNS|')|Temporary failure resolving|fetch failed|"
    r"No matching distribution found|connect EACCES|connect ETIMEDOUT|Failed to establish a new connection|"
    r"Connection timed out|socket\(af, socktype|_socket\.socket\.__init__",
    re.IGNORECASE,
)
_SEARCHED: Final = 5_000


def names_no_network(text: str) -> bool:
    """Return whether the end of an output may be that of a missing network."""
    # The reason of a failure is near its end.
    return _FAILED_NETWORK.search(text[-_SEARCHED:]) is not None
