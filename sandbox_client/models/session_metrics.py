"""The figures of a session. Pure: no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox_proto.v1 import process_pb2


@dataclass(frozen=True, slots=True)
class OpenPort:
    """A TCP port on which user code listens.

    Attributes:
        port: The port.
        address: The address that it is bound to, such as `127.0.0.1`, `0.0.0.0` or `::`.
        pid: A process that has it.
    """

    port: int
    address: str
    pid: int = 0


@dataclass(frozen=True, slots=True)
class SessionMetrics:
    """The figures of a session at one time.

    Attributes:
        cpus_used: Processors in use, averaged over the last 0.2 s.
        cpus: Processors that it may use.
        memory_bytes: Memory in use.
        memory_limit: Bytes; 0 if there is no limit.
        disk_bytes: Bytes in use on the workspace's file system. On a laptop it is shared with everything else.
        disk_total: Size of that file system in bytes.
        processes: Number of processes.
        ports: Ports on which user code listens, sorted.
    """

    cpus_used: float
    cpus: float
    memory_bytes: int
    memory_limit: int
    disk_bytes: int
    disk_total: int
    processes: int
    ports: tuple[OpenPort, ...]


def read_metrics(message: process_pb2.MetricsResponse) -> SessionMetrics:
    """Convert a protocol message."""
    return SessionMetrics(
        message.cpus_used,
        message.cpus,
        message.memory_bytes,
        message.memory_limit,
        message.disk_bytes,
        message.disk_total,
        message.processes,
        tuple(OpenPort(port.port, port.address, port.pid) for port in message.ports),
    )
