"""HTTP/2 written by hand, for what no library sends."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MESSAGE_OF_4_GIB = b"\x00\xff\xff\xff\xff" + b"x" * 1000
"""The beginning of a gRPC message that claims to be that long."""


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def build_call(token: str, message: bytes) -> bytes:
    """The bytes of an HTTP/2 connection with one call whose message is complete."""
    headers = {
        ":method": "POST",
        ":scheme": "https",
        ":path": "/sandbox.v1.InterpreterService/ListContexts",
        ":authority": "a",
        "content-type": "application/grpc",
        "te": "trailers",
        "authorization": f"Bearer {token}",
    }
    # Literals without an index or Huffman code.
    block = b"".join(
        b"\x00" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value.encode()
        for name, value in headers.items()
    )
    start = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0, b"")
    return start + _frame(1, 4, 1, block) + _frame(0, 1, 1, message)


def build_context(authority: Path | None = None, text: str | None = None) -> ssl.SSLContext:
    """A TLS client for HTTP/2 that trusts one authority, in a file or as PEM text."""
    context = ssl.create_default_context(cafile=authority, cadata=text)
    context.set_alpn_protocols(["h2"])
    return context
