"""Raw HTTP/2 over TLS, for a client that breaks the rules. It reads only when it is told to."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
INITIAL_WINDOW = 4
_WINDOW = 65_535


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack("!I", len(payload))[1:] + bytes([kind, flags]) + struct.pack("!I", stream) + payload


def headers(pairs: Iterable[tuple[str, str]]) -> bytes:
    """Encode headers as literals without an index."""
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in pairs)


def _text(text: str) -> bytes:
    data, size = text.encode(), len(text)
    if size < 127:
        return bytes([size]) + data
    encoded, size = b"\x7f", size - 127
    while size >= 128:
        encoded, size = encoded + bytes([size & 127 | 128]), size >> 7
    return encoded + bytes([size]) + data


def request(method: str, token: str | None = None, **more: str) -> bytes:
    """Encode the headers of a gRPC call."""
    pairs = [(":method", "POST"), (":scheme", "https"), (":path", method), (":authority", "agent.test")]
    pairs += [("te", "trailers"), ("content-type", "application/grpc")]
    pairs += [("authorization", f"Bearer {token}")] if token else []
    return headers([*pairs, *((name.replace("_", "-"), value) for name, value in more.items())])


class RawHttp2:
    """One connection.

    Args:
        port: Port on loopback.
        certificate: Certificate and key of this client, or None.
    """

    def __init__(self, port: int, certificate: tuple[Path, Path] | None = None) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        if certificate is not None:
            context.load_cert_chain(*certificate)
        sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context.wrap_socket(sock, server_hostname="agent.test")
        self.is_open = True
        self.window = _WINDOW

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def greet(self, settings: bytes = b"") -> None:
        self.send(PREFACE + frame(SETTINGS, 0, 0, settings))

    def send(self, data: bytes) -> bool:
        """Send as much as the other side takes within the socket's timeout. Returns False once it takes no more."""
        if self.is_open:
            try:
                self.socket.sendall(data)
            except (OSError, TimeoutError):
                self.is_open = False
        return self.is_open

    def send_message(self, stream: int, message: bytes) -> bytes:
        """Send data as fast as the other side's windows allow, and end the stream. Return what came meanwhile."""
        received, seen = b"", 0
        room = {0: self.window, stream: _WINDOW}
        while message and self.is_open:
            piece = message[: max(0, min(room[0], room[stream], 16_000))]
            self.send(frame(DATA, 0, stream, piece))
            message, room = message[len(piece) :], {key: left - len(piece) for key, left in room.items()}
            if not piece or min(room.values()) < 16_000:
                more = self.read_all(0.05)
                received += more
                found = kinds(received)
                for kind, number, payload in found[seen:]:
                    if kind == WINDOW_UPDATE and number in room:
                        room[number] += int.from_bytes(payload, "big")
                    elif kind in {HEADERS, RST_STREAM, GOAWAY} and number in {0, stream}:
                        message = b""  # it is answered already
                seen = len(found)
        self.window = room[0]
        self.send(frame(DATA, END_STREAM, stream))
        return received

    def read_all(self, seconds: float = 1.0) -> bytes:
        """Read what comes until there is silence for this long, or the end."""
        received = bytearray()
        self.socket.settimeout(seconds)
        with contextlib.suppress(OSError, TimeoutError):
            while data := self.socket.recv(1 << 16):
                received += data
        return bytes(received)


def kinds(data: bytes) -> list[tuple[int, int, bytes]]:
    """Return the type, the stream and the payload of each whole frame."""
    found = []
    while len(data) >= 9:
        length = int.from_bytes(data[:3], "big")
        found.append((data[3], int.from_bytes(data[5:9], "big"), data[9 : 9 + length]))
        data = data[9 + length :]
    return found
