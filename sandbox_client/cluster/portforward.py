"""A local port that leads to a port of a pod, through the API server: one websocket a connection, pumped by threads.

Knows nothing of sessions: it takes a function that opens a socket to the pod.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from typing import TYPE_CHECKING, Final, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_CHUNK: Final = 256 << 10
_ACCEPT_POLL: Final = 0.5


class Stream(Protocol):
    """What leads to the pod: a PodStream."""

    @property
    def failure(self) -> str:
        """After the end: why, "" for no reason known."""

    def fileno(self) -> int:
        """The descriptor that is readable when something arrives."""

    def receive(self) -> list[bytes] | None:
        """What has arrived, waiting for something; None at the end."""

    def send(self, data: bytes) -> None:
        """Send all of it; OSError at the end."""

    def close(self) -> None:
        """End it."""


class PortForward:
    """Listens on loopback and joins each accepted connection with a new one to the pod."""

    def __init__(self, dial: Callable[[], Stream]) -> None:
        """Start listening.

        Args:
            dial: Opens a stream to the pod. Called on a thread of each connection.
        """
        self._dial = dial
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._failure = ""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self._listener.settimeout(_ACCEPT_POLL)
        self._thread = threading.Thread(target=self._accept, name="sandbox-port-forward", daemon=True)
        self._thread.start()

    def describe_failure(self) -> str:
        """Why the last connection failed, in the words of whoever forwards; "" where nothing was said."""
        with self._lock:
            return self._failure

    @property
    def address(self) -> str:
        """`host:port` to connect to."""
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    def close(self) -> None:
        """Stop listening and end every connection. Idempotent."""
        self._closing.set()
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            _shut(connection)
        self._thread.join()
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, type_: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            connection.settimeout(None)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection,), name="sandbox-port-forward", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                pod = self._dial()
            except Exception as error:  # noqa: BLE001 - whatever the API server's client raises; gRPC sees a closed connection and dials again
                with self._lock:
                    self._failure = str(error)
                return
            with self._lock:
                self._open.add(connection)
            try:
                if not self._closing.is_set():
                    _join(connection, pod)
            finally:
                with self._lock:
                    self._open.discard(connection)
                    self._failure = pod.failure
                pod.close()


def _join(connection: socket.socket, pod: Stream) -> None:
    """Pump both ways until either side ends: gRPC never half-closes a connection."""
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        selector.register(pod, selectors.EVENT_READ)
        try:
            while True:
                for key, _ in selector.select():
                    if key.fileobj is connection:
                        data = connection.recv(_CHUNK)
                        if not data:
                            return
                        pod.send(data)
                        continue
                    chunks = pod.receive()
                    if chunks is None:
                        return
                    for chunk in chunks:
                        connection.sendall(chunk)
        except OSError:
            return


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
