"""Builds Bind and Renew requests, and the access Secret for clients. A session's token is created here."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import secrets
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sandbox_operator.agent.environment import EnvironmentResolver
from sandbox_operator.api import naming
from sandbox_operator.api.quantities import parse_quantity
from sandbox_operator.api.session_spec import Egress
from sandbox_operator.errors import AlreadyExistsError, Blocked
from sandbox_operator.kube.resources import SECRETS
from sandbox_operator.manifests.ownership import controller_uid
from sandbox_operator.manifests.secrets import Access, build_access_secret
from sandbox_proto.v1 import session_pb2, types_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_operator.api.models import Session, Template
    from sandbox_operator.credentials.source import CredentialSource
    from sandbox_operator.kube.client import KubeApi
    from sandbox_operator.pki.certificates import Authority
    from sandbox_operator.pki.origin import Origins
    from sandbox_operator.session.model import BindAgent, EnsureAccessSecret
    from sandbox_operator.settings import Settings

_CACHE_SECONDS: Final = 10.0
"""Time for which an access Secret is assumed to be unchanged."""
_MAX_CACHED: Final = 500
_RESTORE_WAIT: Final = timedelta(seconds=1)
"""Time that Bind waits for the restore. If little is stored, its answer then says that the session is ready."""
_TOKEN = re.compile(rb"[A-Za-z0-9_-]{43}")
_LANGUAGES: dict[str, types_pb2.Language] = {
    "python": types_pb2.LANGUAGE_PYTHON,
    "javascript": types_pb2.LANGUAGE_JAVASCRIPT,
    "typescript": types_pb2.LANGUAGE_TYPESCRIPT,
    "bash": types_pb2.LANGUAGE_BASH,
}


@dataclass(frozen=True, slots=True)
class Binder:
    """Builds requests that give an agent its session or new credentials, and maintains access Secrets."""

    api: KubeApi
    settings: Settings
    credentials: CredentialSource
    authority: Authority
    origins: Origins
    _cache: dict[str, tuple[float, EnsureAccessSecret, bytes]] = field(default_factory=dict, repr=False)
    """Recently ensured Secrets by the session's uid. A start needs its Secret three times within milliseconds."""

    async def ensure_access(self, session: Session, action: EnsureAccessSecret) -> bytes:
        """Create the access Secret or update its address, and return the token in it.

        A token never changes, unless another client made or changed it.

        Raises:
            Blocked: A Secret of another owner has this name.
        """
        uid, now = session.metadata.uid, time.monotonic()
        recent = self._cached(uid)
        if recent and recent[1] == action:
            return recent[2]
        token = await self._ensure(session, action)
        if len(self._cache) > _MAX_CACHED:
            for other in [key for key, known in self._cache.items() if now - known[0] > _CACHE_SECONDS]:
                del self._cache[other]
        self._cache[uid] = (now, action, token)
        return token

    def _cached(self, uid: str) -> tuple[float, EnsureAccessSecret, bytes] | None:
        recent = self._cache.get(uid)
        return recent if recent and time.monotonic() - recent[0] < _CACHE_SECONDS else None

    async def _ensure(self, session: Session, action: EnsureAccessSecret) -> bytes:
        namespace, name = session.metadata.namespace, naming.access_secret_name(session.metadata.name)
        token = secrets.token_urlsafe(32)
        origin = self.origins.sign_token(session.metadata.uid, token.encode())
        access = Access(token, origin, self.authority.pem, action.endpoint, action.server_name, action.pod_name)
        wanted = build_access_secret(session, access)
        # Usually the Secret does not exist yet, so try to create it first.
        try:
            await self.api.create(SECRETS, namespace, wanted)
        except AlreadyExistsError:
            found = await self.api.get(SECRETS, namespace, name)
        else:
            return access.token.encode()
        own = self._own_token(session, found)
        changed = {key: value for key, value in wanted["data"].items() if (found.get("data") or {}).get(key) != value}
        if own:
            changed.pop("token", None)
        if changed:
            metadata = {} if own else {"metadata": {"annotations": wanted["metadata"]["annotations"]}}
            await self.api.patch(SECRETS, namespace, name, {**metadata, "data": changed})
        return own or access.token.encode()

    def _own_token(self, session: Session, secret: Mapping[str, Any]) -> bytes:
        """Return the token in a session's access Secret, or b"" if it has none that the operator made."""
        uid = session.metadata.uid
        if controller_uid(secret) != uid:
            # This also happens for a short time after a session was deleted and created again: its old Secret outlives
            # it.
            name = secret["metadata"]["name"]
            raise Blocked("SecretNameTaken", f"Secret {name} belongs to another owner", retry_after=1)
        try:
            token = base64.b64decode((secret.get("data") or {}).get("token") or "")
        except ValueError:
            return b""
        return token if _TOKEN.fullmatch(token) and self.origins.is_own_token(uid, token, secret) else b""

    async def build_request(self, session: Session, template: Template, action: BindAgent) -> session_pb2.BindRequest:
        """Return the Bind request.

        Raises:
            Blocked: The environment cannot be resolved, or there are no storage credentials.
        """
        environment = EnvironmentResolver(self.api, self.settings)
        session = await environment.complete(session)
        metadata = session.metadata
        if recent := self._cached(metadata.uid):
            token = recent[2]
        else:
            secret = await self.api.get(SECRETS, metadata.namespace, naming.access_secret_name(metadata.name))
            token = self._own_token(session, secret)
        if not token:
            raise Blocked("SecretNameTaken", "the access Secret contains no token", retry_after=1)
        request = session_pb2.BindRequest(
            session_uid=metadata.uid,
            session_name=f"{metadata.namespace}/{metadata.name}",
            token_sha256=hashlib.sha256(token).digest(),
            env=await environment.resolve(session, template),
            limits=_build_limits(template, action),
            lifecycle=session_pb2.Lifecycle(
                max_lifetime=timedelta(seconds=action.lifetime),
                keep_variables=session.spec.lifecycle.keep_variables,
            ),
            wait=_RESTORE_WAIT,
        )
        if self.settings.storage_bucket:
            request.workspace.CopyFrom(await self._build_workspace(session))
            request.workspace.max_bytes = int(parse_quantity(template.spec.volumes.workspace))
        return request

    def prepare(self, session: Session) -> None:
        """Start fetching the storage credentials for a Bind that will follow soon."""
        if self.settings.storage_bucket:
            self.credentials.prepare(self._key_prefix(session))

    async def build_renewal(self, session: Session) -> session_pb2.RenewRequest:
        """Return the Renew request, with new storage credentials.

        Raises:
            Blocked: There are no credentials at the moment.
        """
        store = await self._build_store(self._key_prefix(session))
        return session_pb2.RenewRequest(session_uid=session.metadata.uid, s3=store)

    async def _build_workspace(self, session: Session) -> session_pb2.WorkspaceBinding:
        prefix, wanted = self._key_prefix(session), session.spec.workspace
        return session_pb2.WorkspaceBinding(
            s3=await self._build_store(prefix),
            key_prefix=prefix,
            exclude=wanted.exclude,
            save_on_change=wanted.sync == "OnChange",
        )

    def _key_prefix(self, session: Session) -> str:
        return naming.key_prefix(self.settings.storage_prefix, session.metadata.namespace, session.workspace_name)

    async def _build_store(self, prefix: str) -> session_pb2.S3Store:
        settings = self.settings
        credentials = await self.credentials.credentials_for(prefix)
        authorities = ""
        if settings.storage_ca_file:
            authorities = await asyncio.to_thread(settings.storage_ca_file.read_text, encoding="utf-8")
        store = session_pb2.S3Store(
            bucket=settings.storage_bucket,
            endpoint=settings.storage_endpoint,
            region=settings.storage_region,
            access_key_id=credentials.access_key_id,
            secret_access_key=credentials.secret_access_key,
            session_token=credentials.session_token,
            path_style=settings.storage_path_style,
            ca_certificates=authorities,
        )
        if credentials.expires_at:
            store.expires_at.FromDatetime(credentials.expires_at)
        return store


def _build_limits(template: Template, action: BindAgent) -> session_pb2.Limits:
    limits = template.spec.limits
    return session_pb2.Limits(
        execution_timeout=limits.execution_timeout,
        output_bytes=limits.output_bytes,
        processes=limits.processes,
        file_bytes=limits.file_bytes,
        languages=[_LANGUAGES[name] for name in template.spec.languages],
        deny_network=action.egress is Egress.NONE,
        memory_bytes=action.memory_bytes,
    )
