"""A stream to a port of a pod: a websocket of the API server's, in the framing of its port-forward.

Each message's first byte is a channel: 0 carries the port's bytes both ways, 1 says why the port cannot be reached. The
first message of a channel repeats the port's number. The kubernetes package dials; it has a port-forward of its own,
whose thread ends with a traceback where the API server ends first, and leaves its socket open.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import Any, Final

from sandbox_client.cluster.api import bearer_header, core_url

_DATA: Final = b"\0"
_ERROR: Final = 1
_CLOSE_SECONDS: Final = 1
_ADVICE: Final = (
    "a session under gVisor takes no port-forward: connect from a pod of the cluster, or from where its pods' "
    "addresses are reachable (--direct, in_cluster=True)"
)


class PodStream:
    """One connection to a port of a pod."""

    def __init__(self, websocket: Any) -> None:
        """Take over a connected websocket of the package websocket-client."""
        self._websocket = websocket
        self._named: set[int] = set()
        self._said = ""

    @property
    def failure(self) -> str:
        """Why the port could not be reached, and what to do about it; "" for no reason known."""
        return f"port-forward: {self._said.strip()}; {_ADVICE}" if self._said else ""

    def fileno(self) -> int:
        """The descriptor that is readable when something arrives; -1 after the end."""
        return self._websocket.sock.fileno() if self._websocket.sock else -1

    def receive(self) -> list[bytes] | None:
        """What has arrived, waiting for at least one message; None at the end."""
        from websocket import ABNF, WebSocketException  # noqa: PLC0415 - slow to import

        chunks: list[bytes] = []
        try:
            while True:
                opcode, frame = self._websocket.recv_data_frame(control_frame=True)
                if opcode == ABNF.OPCODE_CLOSE or self._said:
                    return None
                if opcode == ABNF.OPCODE_BINARY and frame.data:
                    self._take(frame.data, chunks)
                sock = self._websocket.sock
                # What TLS has decrypted already makes no descriptor readable.
                if not (isinstance(sock, ssl.SSLSocket) and sock.pending()):
                    return None if self._said else chunks
        except (WebSocketException, OSError):
            return None

    def _take(self, message: bytes, chunks: list[bytes]) -> None:
        channel, body = message[0], message[1:]
        if channel not in self._named:
            self._named.add(channel)
        elif channel == _ERROR:
            self._said += body.decode("utf-8", "replace")
        elif channel == 0:
            chunks.append(body)

    def send(self, data: bytes) -> None:
        """Send all of it.

        Raises:
            OSError: The connection is over.
        """
        from websocket import WebSocketException  # noqa: PLC0415 - slow to import

        if not self._websocket.connected:
            raise ConnectionResetError("the API server ended the port-forward")
        try:
            self._websocket.send_binary(_DATA + data)
        except WebSocketException as error:
            raise ConnectionResetError(str(error)) from error

    def close(self) -> None:
        """End the connection. Idempotent."""
        with contextlib.suppress(Exception):
            self._websocket.close(timeout=_CLOSE_SECONDS)
        # Where the other side closed first, the line above does nothing.
        self._websocket.shutdown()


def open_pod_stream(client: Any, namespace: str, pod: str, port: int) -> PodStream:
    """Dial a port of a pod through the API server.

    Args:
        client: The kubernetes package's ApiClient.
        namespace: The pod's.
        pod: Its name.
        port: The port.

    Raises:
        Exception: As websocket-client raises it: refused, unauthorized, no such pod.
    """
    from kubernetes.stream import ws_client  # noqa: PLC0415 - slow to import

    dial: Any = ws_client
    url = core_url(client, "namespaces", namespace, "pods", pod, "portforward")
    url = dial.get_websocket_url(url, [("ports", str(port))])
    return PodStream(dial.create_websocket(client.configuration, url, bearer_header(client)))
