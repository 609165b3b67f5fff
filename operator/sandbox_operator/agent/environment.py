"""Resolves a session's environment for Bind: its own values and those of Secrets, within bounds.

A tenant writes the references, so what they add up to is bounded before it is in memory: few Secrets, fetched one
after another, and of each only the keys that are used are kept.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sandbox_operator.api import naming
from sandbox_operator.api.models import Session, parse
from sandbox_operator.errors import Blocked, NotFoundError
from sandbox_operator.kube.resources import SECRETS, SESSIONS
from sandbox_operator.session.admission import MAX_ENV_BYTES, check_env, check_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_operator.api.models import Template
    from sandbox_operator.api.session_spec import EnvVar
    from sandbox_operator.kube.client import KubeApi
    from sandbox_operator.settings import Settings

_RETRY: Final = 60.0
"""Seconds until a refused environment is looked at again: only its owner can change it."""


@dataclass(frozen=True, slots=True)
class EnvironmentResolver:
    """Resolves environments. Everything that it refuses names the session's field."""

    api: KubeApi
    settings: Settings

    async def complete(self, session: Session) -> Session:
        """Return the session with its whole spec. The store keeps only the small parts of a large one."""
        metadata = session.metadata
        if not metadata.abridged:
            return session
        return parse(Session, await self.api.get(SESSIONS, metadata.namespace, metadata.name))

    async def resolve(self, session: Session, template: Template) -> dict[str, str]:
        """Return the environment of a complete session.

        Raises:
            Blocked: A Secret or key does not exist, or may not be used, or the environment is too large.
        """
        check_env(session, template)
        env = {variable.name: variable.value for variable in template.spec.env.defaults}
        env |= {variable.name: variable.value for variable in session.spec.env if variable.secret_key_ref is None}
        total = sum(map(_size, env.items()))
        for name, wanted in _by_secret(session).items():
            data = await self._fetch(session.metadata.namespace, name, wanted[0][0])
            for index, variable in wanted:
                value = _decode(f"spec.env.{index}", variable, data)
                check_value(f"spec.env.{index}.secretKeyRef", variable.name, value)
                before = env.get(variable.name)
                total += _size((variable.name, value)) - (0 if before is None else _size((variable.name, before)))
                if total > MAX_ENV_BYTES:
                    message = f"the environment has more than {MAX_ENV_BYTES} bytes"
                    raise _refusal("EnvNotAllowed", f"spec.env.{index}.secretKeyRef", message)
                env[variable.name] = value
        return env

    async def _fetch(self, namespace: str, name: str, index: int) -> Mapping[str, Any]:
        """Return the data of a Secret that a session may use."""
        field = f"spec.env.{index}.secretKeyRef.name"
        try:
            secret = await self.api.get(SECRETS, namespace, name)
        except NotFoundError:
            raise Blocked("SecretKeyNotFound", f"{field}: Secret {name} does not exist") from None
        # Otherwise a session could read Secrets of another session or of the operator.
        labels = secret["metadata"].get("labels") or {}
        is_ours = labels.get(naming.MANAGED_BY) or name == self.settings.ca_secret
        if is_ours or secret.get("type") == "kubernetes.io/service-account-token":
            raise _refusal("EnvNotAllowed", field, f"sessions may not use Secret {name}")
        return secret.get("data") or {}


def _by_secret(session: Session) -> dict[str, list[tuple[int, EnvVar]]]:
    """Return the variables that refer to Secrets, with their positions, by the Secret's name."""
    found: dict[str, list[tuple[int, EnvVar]]] = {}
    for index, variable in enumerate(session.spec.env):
        if variable.secret_key_ref is not None:
            found.setdefault(variable.secret_key_ref.name, []).append((index, variable))
    return found


def _decode(field: str, variable: EnvVar, data: Mapping[str, Any]) -> str:
    reference = variable.secret_key_ref
    if reference is None:
        raise AssertionError("only variables that refer to a Secret are decoded")
    value, field = data.get(reference.key), f"{field}.secretKeyRef.key"
    if value is None:
        raise Blocked("SecretKeyNotFound", f"{field}: Secret {reference.name} has no key {reference.key}")
    try:
        return base64.b64decode(value).decode()
    except UnicodeDecodeError:
        raise Blocked("SecretKeyNotFound", f"{field}: {reference.name}/{reference.key} is not UTF-8") from None


def _size(item: tuple[str, str]) -> int:
    return len(item[0].encode()) + len(item[1].encode())


def _refusal(reason: str, field: str, message: str) -> Blocked:
    return Blocked(reason, f"{field}: {message}", failed=True, retry_after=_RETRY)
