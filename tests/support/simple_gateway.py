"""A gateway over sessions of this process, for tests of doors: keys without checks, and a server in a thread."""

import asyncio
import contextlib
import datetime as dt
import hashlib
import threading

import uvicorn

from sandbox_client import AsyncSandbox
from sandbox_client.errors import FailedPrecondition, NotFound, Unauthenticated
from sandbox_client.lifecycle.session_info import SessionInfo
from sandbox_gateway.app import build_app
from sandbox_gateway.backend import Caller, GatewaySession
from sandbox_gateway.gateway import Gateway, Settings


class SimpleBackend:
    """Sessions that are a part of this process. A session belongs to its caller's namespace.

    With `starts=False` sessions have no processes, and nothing connects to them.
    """

    def __init__(self, *, starts=True):
        self._starts = starts
        self.sandboxes = {}
        self.sessions = {}
        self.created = []

    async def create(self, caller, new):
        self.created.append(new)
        key = (caller.namespace, new.name or f"box{len(self.sessions)}")
        if key not in self.sessions:
            if self._starts:
                self.sandboxes[key] = await AsyncSandbox.local(name=key[1])
            info = SessionInfo(key[1], phase="Ready", template=new.template, created_at=dt.datetime.now(dt.UTC))
            uid = str(len(self.created))
            self.sessions[key] = GatewaySession(info, dict(new.metadata), owner=caller.name, uid=uid)
        return self.sessions[key]

    async def get(self, caller, name):
        try:
            return self.sessions[caller.namespace, name]
        except KeyError:
            raise NotFound(f"there is no session {name}", reason="SESSION_NOT_FOUND") from None

    async def list(self, caller, metadata=None):
        wanted = (metadata or {}).items()
        return [
            session
            for (namespace, _), session in self.sessions.items()
            if namespace == caller.namespace and wanted <= session.metadata.items()
        ]

    async def connect(self, caller, name, *, wake=True):
        await self.get(caller, name)
        if not self._starts:
            raise FailedPrecondition("the session has no processes")
        return self.sandboxes[caller.namespace, name]

    async def delete(self, caller, name):
        await self.get(caller, name)
        del self.sessions[caller.namespace, name]
        await self.sandboxes.pop((caller.namespace, name)).close()

    async def close(self):
        for sandbox in self.sandboxes.values():
            await sandbox.close()


class SimpleAccess:
    """A key is the name of its caller. `other` belongs to another namespace, and `wrong` is refused."""

    async def by_key(self, key, *, peer):
        return self._caller(key)

    async def by_bearer(self, token, *, peer, namespace=""):
        return self._caller(token)

    async def check_signer(self, request, *, peer):
        await self.by_signature(request, peer=peer)

    async def by_signature(self, request, *, peer):
        given = dict(request.headers).get("authorization", "")
        return self._caller(given.partition("Credential=")[2].partition("/")[0])

    def derive(self, purpose, text):
        return hashlib.sha256(f"{purpose}/{text}".encode()).hexdigest()

    def _caller(self, key):
        if not key or key == "wrong":
            raise Unauthenticated("the key is not known", reason="UNKNOWN_KEY")
        return Caller(name=key, namespace="two" if key == "other" else "one")


class RunningGateway:
    """A gateway in a thread of its own.

    Attributes:
        url: Its address.
        backend: Its sessions.
        loop: Its event loop.
    """

    def __init__(self, doors, *, settings=None, starts=True):
        self.backend = SimpleBackend(starts=starts)
        self._doors = doors
        self._settings = settings
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    async def _serve(self):
        self.loop = asyncio.get_running_loop()
        gateway = Gateway(backend=self.backend, access=SimpleAccess(), settings=self._settings or Settings())
        config = uvicorn.Config(build_app(gateway, self._doors), port=0, log_level="warning", ws="none")
        self._server = uvicorn.Server(config)
        self._server.install_signal_handlers = lambda: None
        serving = asyncio.create_task(self._server.serve())
        while not self._server.started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        if self._server.started:
            port = self._server.servers[0].sockets[0].getsockname()[1]
            self.url = f"http://127.0.0.1:{port}"
        self._ready.set()
        await serving

    def __enter__(self):
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_):
        with contextlib.suppress(AttributeError):
            self._server.should_exit = True
        self._thread.join()
