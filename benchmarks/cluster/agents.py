"""Plays the agents of all fake pods in one process: it answers Describe, Bind and Drain, and remembers bindings.

Fake pods have loopback addresses, and one port serves all of them. The name that the caller expects in the certificate
identifies the pod. gRPC for Python reports neither that name nor the dialled address to a server. Therefore a small
relay in front reads the name from the TLS hello. It records the name under the local port of its connection to the
server.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import re
import threading
from concurrent import futures
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from sandbox_operator.api.naming import CONTROL_PORT, DOMAIN
from sandbox_operator.pki.certificates import Authority, KeyPair
from sandbox_proto.v1 import session_pb2, session_pb2_grpc

_NAME = re.compile(rb"[a-z0-9.-]+\." + DOMAIN.encode())
_STATES = session_pb2.SessionDescription


class Agents(session_pb2_grpc.SessionServiceServicer):
    """The agents, identified by the name in their certificate."""

    def __init__(self, names: dict[int, str], bound: dict[str, str]) -> None:
        self.names, self.bound = names, bound
        self.drained: set[str] = set()
        self._since: dict[str, Timestamp] = {}
        self._lock = threading.Lock()

    def Describe(self, _: session_pb2.DescribeRequest, context: Any) -> Any:  # noqa: N802 - gRPC's name
        return self._describe(self._name(context))

    def Bind(self, request: session_pb2.BindRequest, context: Any) -> Any:  # noqa: N802 - gRPC's name
        name = self._name(context)
        with self._lock:
            holder = self.bound.setdefault(name, request.session_uid)
        if holder != request.session_uid:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "ALREADY_BOUND")
        return self._describe(name)

    def Drain(self, _: session_pb2.DrainRequest, context: Any) -> Any:  # noqa: N802 - gRPC's name
        self.drained.add(self._name(context))
        return self._describe(self._name(context))

    def _describe(self, name: str) -> Any:
        uid = self.bound.get(name, "")
        state = _STATES.STATE_DRAINED if name in self.drained else _STATES.STATE_BOUND if uid else _STATES.STATE_BLANK
        restore = _STATES.RESTORE_STATE_DONE if uid else _STATES.RESTORE_STATE_UNSPECIFIED
        description = _STATES(state=state, session_uid=uid, restore=restore, runtime_ready=True)
        # No client calls these sessions, so their last use stays the same. A used session has a new status each time.
        description.last_active.CopyFrom(self._since.setdefault(name, _now()))
        return description

    def _name(self, context: Any) -> str:
        return self.names[int(context.peer().rsplit(":", 1)[1])]


def _now() -> Timestamp:
    now = Timestamp()
    now.GetCurrentTime()
    return now


def read_server_name(hello: bytes) -> str:
    """Return the agent's name in the first TLS message, or "" if there is none.

    The two bytes before the name are its length. The second may look like a character of the name.
    """
    if found := _NAME.search(hello):
        for start in range(found.start(), found.end()):
            if int.from_bytes(hello[max(0, start - 2) : start], "big") == found.end() - start:
                return hello[start : found.end()].decode()
    return ""


class Relay(asyncio.Protocol):
    """One connection from the operator, forwarded unchanged to the server."""

    def __init__(self, port: int, names: dict[int, str]) -> None:
        self.port, self.names = port, names
        self.upstream: asyncio.WriteTransport | None = None
        self.waiting: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        if self.upstream:
            self.upstream.write(data)
            return
        self.waiting.append(data)
        if len(self.waiting) == 1:
            self.task = asyncio.get_running_loop().create_task(self.connect(data))

    async def connect(self, hello: bytes) -> None:
        name = read_server_name(hello)
        if not name:
            self.transport.close()
            return
        loop = asyncio.get_running_loop()
        upstream, _ = await loop.create_connection(lambda: Upstream(self.transport), "127.0.0.1", self.port)
        self.names[upstream.get_extra_info("sockname")[1]] = name
        upstream.write(b"".join(self.waiting))
        self.upstream = upstream

    def connection_lost(self, _: Exception | None) -> None:
        if self.upstream:
            self.upstream.close()


class Upstream(asyncio.Protocol):
    """The connection to the server, whose data is sent back to the operator."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def connection_lost(self, _: Exception | None) -> None:
        self.transport.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("authority", type=Path, help="the operator's CA Secret as JSON")
    parser.add_argument("namespace")
    parser.add_argument(
        "bound", type=Path, help="JSON file with the session uid of each bound agent, by the agent's name"
    )
    parsed = parser.parse_args()
    data = {key: base64.b64decode(value) for key, value in json.loads(parsed.authority.read_text())["data"].items()}
    authority = Authority(KeyPair(data["tls.crt"], data["tls.key"]))
    pair = authority.sign_server(f"*.{parsed.namespace}.{DOMAIN}", datetime.now(UTC))
    credentials = grpc.ssl_server_credentials([(pair.key, pair.certificate)], authority.pem, require_client_auth=True)
    names: dict[int, str] = {}
    server = grpc.server(futures.ThreadPoolExecutor(8))
    add: Any = session_pb2_grpc.add_SessionServiceServicer_to_server
    add(Agents(names, json.loads(parsed.bound.read_text())), server)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    asyncio.run(relay(port, names))


async def relay(port: int, names: dict[int, str]) -> None:
    server = await asyncio.get_running_loop().create_server(
        lambda: Relay(port, names), "0.0.0.0", CONTROL_PORT, backlog=1000
    )
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    main()
