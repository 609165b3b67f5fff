"""Serves the gateway with sessions on this machine, for tests: one key, which stands in the environment.

python serve_gateway.py PORT
"""

import hashlib
import hmac
import os
import sys

import uvicorn

from sandbox_client.errors import Unauthenticated
from sandbox_gateway.app import build_app
from sandbox_gateway.backend import Caller
from sandbox_gateway.backends.local import LocalBackend
from sandbox_gateway.gateway import Gateway, Settings


class OneKey:
    """Access for the one key."""

    async def by_key(self, key, *, peer):
        if not hmac.compare_digest(key, os.environ["E2B_API_KEY"]):
            raise Unauthenticated("the API key is wrong")
        return Caller(name="tests")

    by_bearer = by_key

    async def by_owner(self, session):
        return Caller(name=session.owner)

    def session_token(self, session, purpose):
        return hmac.new(b"a secret of the tests", f"{session.uid}:{purpose}".encode(), hashlib.sha256).hexdigest()

    def check_session_token(self, session, purpose, token):
        if not hmac.compare_digest(self.session_token(session, purpose).encode(), token.encode()):
            raise Unauthenticated("the token is wrong")


if __name__ == "__main__":
    settings = Settings(domain=os.environ["E2B_DOMAIN"])
    gateway = Gateway(backend=LocalBackend(settings.aliases), access=OneKey(), settings=settings)
    uvicorn.run(build_app(gateway, ["e2b"]), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
