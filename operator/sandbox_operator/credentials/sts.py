"""Temporary credentials for one workspace by STS AssumeRole, from AWS or a compatible store such as MinIO.

botocore is imported with the first client and works in threads of its own. Errors and logs never contain credentials.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

from sandbox_operator.credentials.iam_policy import build_session_policy, role_session_name
from sandbox_operator.credentials.source import StorageCredentials
from sandbox_operator.errors import Blocked
from sandbox_proto import tracing

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_sts import STSClient

    from sandbox_operator.credentials.source import StaticCredentials
    from sandbox_operator.settings import Settings

_THREADS: Final = 8
"""Concurrent requests. Further ones wait."""
_CONNECT_TIMEOUT: Final = 2.0
_READ_TIMEOUT: Final = 5.0
_ATTEMPTS: Final = 2
_PREPARED_SECONDS: Final = 30.0
"""Time for which prepared credentials are kept."""
_REASON: Final = "RoleNotAssumed"
_LOG: Final = logging.getLogger(__name__)


class StsCredentials:
    """A CredentialSource whose credentials reach one workspace and expire.

    Args:
        settings: Role, endpoint, duration and bucket.
        own: The operator's own credentials. If none are configured, botocore searches its usual places, such as the
            environment and a web identity.
        observe: Called with the outcome (`ok` or `error`) and the seconds of each request.
    """

    def __init__(
        self, settings: Settings, own: StaticCredentials, observe: Callable[[str, float], None] = lambda *_: None
    ) -> None:
        self._settings, self._own, self._observe = settings, own, observe
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="sts")
        self._clients: dict[StorageCredentials | None, STSClient] = {}
        self._prepared: dict[str, asyncio.Task[StorageCredentials]] = {}

    async def load(self) -> None:
        """Import botocore now. It takes some hundred milliseconds of CPU, which the first session would wait for."""
        await self._run(self._client, None)

    def prepare(self, key_prefix: str) -> None:
        """Request a workspace's credentials now, while the caller does other work before `credentials_for`."""
        if key_prefix in self._prepared:
            return
        task = self._prepared[key_prefix] = asyncio.create_task(self._assume(key_prefix), name=f"sts-{key_prefix}")
        # The caller may never ask for the result.
        task.add_done_callback(lambda task: task.cancelled() or task.exception())
        asyncio.get_running_loop().call_later(_PREPARED_SECONDS, self._drop, key_prefix, task)

    async def credentials_for(self, key_prefix: str) -> StorageCredentials:
        """Return the prepared credentials of a workspace, or request them now."""
        task = self._prepared.pop(key_prefix, None)
        return await (self._assume(key_prefix) if task is None else asyncio.shield(task))

    async def close(self) -> None:
        """Cancel prepared requests and let the threads end."""
        for task in self._prepared.values():
            task.cancel()
        await asyncio.gather(*self._prepared.values(), return_exceptions=True)
        self._prepared.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _drop(self, key_prefix: str, task: asyncio.Task[StorageCredentials]) -> None:
        if self._prepared.get(key_prefix) is task:
            del self._prepared[key_prefix]

    async def _assume(self, key_prefix: str) -> StorageCredentials:
        settings = self._settings
        try:
            policy = build_session_policy(settings.storage_bucket, key_prefix, settings.storage_sts_role_arn)
        except ValueError as error:
            raise Blocked(
                _REASON, f"the workspace's name cannot be expressed in a policy: {error}", failed=True, retry_after=60
            ) from None
        request: dict[str, Any] = {
            "RoleArn": settings.storage_sts_role_arn,
            "RoleSessionName": role_session_name(key_prefix),
            "Policy": policy,
            "DurationSeconds": settings.storage_sts_duration,
        }
        if settings.storage_sts_external_id:
            request["ExternalId"] = settings.storage_sts_external_id
        started, outcome = time.perf_counter(), "error"
        try:
            with tracing.span("STS AssumeRole"):
                answer = await self._run(self._request, request)
            outcome = "ok"
        finally:
            self._observe(outcome, time.perf_counter() - started)
        found = answer["Credentials"]
        return StorageCredentials(
            found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"], found["Expiration"]
        )

    def _request(self, request: dict[str, Any]) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - see the module's docstring

        # Read in this thread: a separate hop to read the files would delay a warm start.
        own = self._own.read()
        try:
            return self._client(own).assume_role(**request)
        except ClientError as error:
            # The message may name users and roles, so it goes to the operator's log only.
            code = error.response.get("Error", {}).get("Code", "an error")
            _LOG.warning("AssumeRole was refused: %s", error)
            raise Blocked(_REASON, f"AssumeRole failed with {code}") from None
        except (BotoCoreError, OSError) as error:
            _LOG.warning("AssumeRole failed: %s", error)
            raise Blocked(_REASON, f"AssumeRole failed: {type(error).__name__}") from None

    def _client(self, own: StorageCredentials | None) -> STSClient:
        """Return the client for these credentials. A client for earlier ones is dropped."""
        client = self._clients.get(own)
        if client is None:
            client = _build_client(self._settings, own)
            self._clients = {own: client}
        return client

    async def _run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, functools.partial(function, *arguments))


def choose_endpoint(settings: Settings) -> str:
    """Return the token service's URL, or "" for that of AWS in the region.

    A store other than AWS has its token service at its own endpoint.
    """
    if settings.storage_sts_endpoint or not settings.storage_endpoint:
        return settings.storage_sts_endpoint
    host = urlsplit(settings.storage_endpoint).hostname or ""
    return "" if host.endswith((".amazonaws.com", ".amazonaws.com.cn")) else settings.storage_endpoint


def _build_client(settings: Settings, own: StorageCredentials | None) -> STSClient:
    import botocore.session  # noqa: PLC0415 - see the module's docstring
    from botocore.config import Config  # noqa: PLC0415

    config = Config(
        connect_timeout=_CONNECT_TIMEOUT,
        read_timeout=_READ_TIMEOUT,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        max_pool_connections=_THREADS,
        tcp_keepalive=True,
    )
    client = botocore.session.Session().create_client(
        "sts",
        region_name=settings.storage_region,
        endpoint_url=choose_endpoint(settings) or None,
        verify=str(settings.storage_ca_file) if settings.storage_ca_file else None,
        aws_access_key_id=own.access_key_id if own else None,
        aws_secret_access_key=own.secret_access_key if own else None,
        config=config,
    )
    return cast("STSClient", client)
