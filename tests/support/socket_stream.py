"""A plain TCP connection in the place of a pod's stream."""

import socket
from dataclasses import dataclass


@dataclass
class SocketStream:
    """What a port-forward joins a client with."""

    connection: socket.socket
    failure: str = ""

    def fileno(self) -> int:
        return self.connection.fileno()

    def receive(self) -> list[bytes] | None:
        data = self.connection.recv(65536)
        return [data] if data else None

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def close(self) -> None:
        self.connection.close()


def dial(address: tuple[str, int]) -> SocketStream:
    """Connect to an address."""
    return SocketStream(socket.create_connection(address))
