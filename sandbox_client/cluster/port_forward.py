"""Forwards a local port to a port of a pod, through the API server.

`PortForward` listens on loopback. For each connection it opens one websocket to the API server's port-forward, a
`PodStream`, and copies bytes both ways on a thread. Each websocket message starts with a channel number: channel 0
carries the port's bytes, channel 1 says why the port cannot be reached. The first message of a channel repeats the
port's number. The kubernetes package only opens the websocket. Its own port-forward ends its thread with a traceback
when the API server closes first, and leaves its socket open.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any, Final, Self

from sandbox_client.cluster.api import bearer_header, core_url

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_DATA: Final = b"\0"
_ERROR: Final = 1
_CLOSE_TIMEOUT: Final = 1
"""Seconds to wait for the other side's close frame."""
_ADVICE: Final = (
    "a session under gVisor does not support port-forward: connect from a pod of the cluster, or from a host that can "
    "reach the pods' addresses (--direct, in_cluster=True)"
)
_CHUNK: Final = 256 << 10
_ACCEPT_POLL: Final = 0.5


class PodStream:
    """One connection to a port of a pod."""

    def __init__(self, websocket: Any) -> None:
        """Take over a connected websocket of the package websocket-client."""
        self._websocket = websocket
        self._announced: set[int] = set()
        """Channels whose first message, with the port's number, has arrived."""
        self._error = ""

    @property
    def failure(self) -> str:
        """The reason why the port could not be reached, with advice, or "" if none is known."""
        return f"port-forward: {self._error.strip()}; {_ADVICE}" if self._error else ""

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when data arrives, or -1 after the end."""
        return self._websocket.sock.fileno() if self._websocket.sock else -1

    def receive(self) -> list[bytes] | None:
        """Wait for at least one message and return its data. Returns None at the end of the stream."""
        from websocket import ABNF, WebSocketException  # noqa: PLC0415 - slow to import

        chunks: list[bytes] = []
        try:
            while True:
                opcode, frame = self._websocket.recv_data_frame(control_frame=True)
                if opcode == ABNF.OPCODE_CLOSE or self._error:
                    return None
                if opcode == ABNF.OPCODE_BINARY and frame.data:
                    self._take(frame.data, chunks)
                sock = self._websocket.sock
                # Data that TLS has already decrypted does not make the descriptor readable.
                if not (isinstance(sock, ssl.SSLSocket) and sock.pending()):
                    return None if self._error else chunks
        except (WebSocketException, OSError):
            return None

    def _take(self, message: bytes, chunks: list[bytes]) -> None:
        channel, body = message[0], message[1:]
        if channel not in self._announced:
            self._announced.add(channel)
        elif channel == _ERROR:
            self._error += body.decode("utf-8", "replace")
        elif channel == 0:
            chunks.append(body)

    def send(self, data: bytes) -> None:
        """Send all data.

        Raises:
            OSError: The connection has ended.
        """
        from websocket import WebSocketException  # noqa: PLC0415 - slow to import

        if not self._websocket.connected:
            raise ConnectionResetError("the API server ended the port-forward")
        try:
            self._websocket.send_binary(_DATA + data)
        except WebSocketException as error:
            raise ConnectionResetError(str(error)) from error

    def close(self) -> None:
        """Close the connection. Idempotent."""
        with contextlib.suppress(Exception):
            self._websocket.close(timeout=_CLOSE_TIMEOUT)
        # If the other side closed first, `close` leaves the socket open.
        self._websocket.shutdown()


def open_pod_stream(client: Any, namespace: str, pod: str, port: int) -> PodStream:
    """Connect to a port of a pod through the API server.

    Args:
        client: The kubernetes package's ApiClient.
        namespace: The pod's namespace.
        pod: The pod's name.
        port: The port.

    Raises:
        Exception: websocket-client's error: refused, unauthorized, no such pod.
    """
    from kubernetes.stream import ws_client  # noqa: PLC0415 - slow to import

    dial: Any = ws_client
    url = core_url(client, "namespaces", namespace, "pods", pod, "portforward")
    url = dial.get_websocket_url(url, [("ports", str(port))])
    return PodStream(dial.create_websocket(client.configuration, url, bearer_header(client)))


class PortForward:
    """A listener on loopback that connects each accepted connection to a new stream to the pod."""

    def __init__(self, dial: Callable[[], PodStream]) -> None:
        """Start listening.

        Args:
            dial: Opens a stream to the pod. Called on the thread of each connection.
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
        """Return the reason why the last connection failed, or "" if none is known."""
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
            except Exception as error:  # noqa: BLE001 - the client raises many types; gRPC sees a closed connection and dials again
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


def _join(connection: socket.socket, pod: PodStream) -> None:
    """Copy bytes both ways until either side ends. gRPC never half-closes a connection."""
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
