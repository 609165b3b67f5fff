"""Decides what a session gets of what it asks for, given its template. Pure. A refusal names the session's field."""

from __future__ import annotations

import re
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from sandbox_operator.api.quantities import RESOURCE_KINDS, parse_quantity
from sandbox_operator.api.session_spec import Egress, Resources
from sandbox_operator.api.values import ENV_NAME_PATTERN, OBJECT_NAME_PATTERN
from sandbox_operator.errors import Blocked

if TYPE_CHECKING:
    from sandbox_operator.api.models import Session, Template
    from sandbox_operator.api.session_spec import EnvVar

_RESERVED_PREFIX: Final = "SANDBOX_"
MAX_SECRETS: Final = 64
"""Different Secrets that a session's environment may refer to. Each is fetched at every Bind."""
MAX_ENV_BYTES: Final = 512 * 1024
"""Names and values of a whole environment, that of the template included. Programs get at most four times as much."""
MAX_VALUE_BYTES: Final = 128 * 1024 - 2
"""One variable with its name. The kernel starts no program with a longer one."""
DEFAULT_LIFETIME: Final = timedelta(hours=8)


def choose_egress(session: Session, template: Template) -> Egress:
    """Return the session's egress.

    Raises:
        Blocked: The session asks for wider egress than the template allows.
    """
    widest = template.spec.egress.mode
    chosen = session.spec.egress or widest
    if chosen.is_wider_than(widest):
        raise _refusal("EgressNotAllowed", "spec.egress", f"{chosen} is wider than the template's {widest}")
    return chosen


def choose_resources(session: Session, template: Template) -> Resources:
    """Return the sandbox container's requests and limits: the template's defaults with the session's changes.

    Raises:
        Blocked: The template does not let sessions choose resources, or not this one, or not this much.
    """
    asked, default = session.spec.resources, template.spec.resources.default
    for part, values in (("requests", asked.requests), ("limits", asked.limits)):
        for kind, value in values.items():
            _check_resource(f"spec.resources.{part}.{kind}", kind, value, template.spec.resources.maximum)
    return _fit(default, asked)


def _fit(default: Resources, asked: Resources) -> Resources:
    limits = default.limits | asked.limits
    requests = default.requests | asked.requests
    for kind, value in requests.items():
        if kind not in limits or parse_quantity(value) <= parse_quantity(limits[kind]):
            continue
        if kind in asked.requests:
            raise _refusal("ResourcesNotAllowed", f"spec.resources.requests.{kind}", "must not exceed the limit")
        requests = requests | {kind: limits[kind]}
    return Resources(requests=requests, limits=limits)


def default_resources(template: Template) -> Resources:
    """Return the resources of a session that asks for none. A pool's pods have the same."""
    return _fit(template.spec.resources.default, Resources())


def choose_lifetime(session: Session, template: Template | None) -> timedelta:
    """Return the longest time that a pod may serve the session: what it asks for, at most what its template allows."""
    wanted = session.spec.lifecycle.max_lifetime or DEFAULT_LIFETIME
    cap = template.spec.lifecycle.max_lifetime if template else None
    return min(wanted, cap) if cap else wanted


def check_env(session: Session, template: Template) -> None:
    """Check the names, Secrets and size of the session's environment.

    Raises:
        Blocked: The template does not allow a variable, or the environment is too large.
    """
    secrets: set[str] = set()
    total = sum(len(each.name.encode()) + len(each.value.encode()) for each in template.spec.env.defaults)
    for index, variable in enumerate(session.spec.env):
        field = f"spec.env.{index}"
        _check_variable(field, variable, template)
        check_value(f"{field}.value", variable.name, variable.value)
        total += len(variable.name.encode()) + len(variable.value.encode())
        if total > MAX_ENV_BYTES:
            raise _refusal("EnvNotAllowed", f"{field}.value", f"the environment has more than {MAX_ENV_BYTES} bytes")
        if variable.secret_key_ref is not None:
            secrets.add(variable.secret_key_ref.name)
        if len(secrets) > MAX_SECRETS:
            message = f"the environment refers to more than {MAX_SECRETS} Secrets; put their keys into fewer"
            raise _refusal("EnvNotAllowed", f"{field}.secretKeyRef.name", message)


def check_value(field: str, name: str, value: str) -> None:
    """Check that a program can be started with a variable.

    Raises:
        Blocked: The variable is too long.
    """
    if len(name.encode()) + len(value.encode()) > MAX_VALUE_BYTES:
        message = f"{name} has more than {MAX_VALUE_BYTES} bytes; put it into a file of the workspace"
        raise _refusal("EnvNotAllowed", field, message)


def _check_variable(field: str, variable: EnvVar, template: Template) -> None:
    policy = template.spec.env
    if not re.fullmatch(ENV_NAME_PATTERN, variable.name):
        raise _refusal("EnvNotAllowed", f"{field}.name", "is not a valid name of an environment variable")
    if variable.name.startswith(_RESERVED_PREFIX):
        raise _refusal("EnvNotAllowed", f"{field}.name", f"names that begin with {_RESERVED_PREFIX} are reserved")
    if any(fnmatchcase(variable.name, pattern) for pattern in policy.forbidden):
        raise _refusal("EnvNotAllowed", f"{field}.name", f"{variable.name} is forbidden by the template")
    reference = variable.secret_key_ref
    # The name becomes a part of a path in the API. A pattern such as * would also allow `../../others/secrets/theirs`.
    if reference and not re.fullmatch(OBJECT_NAME_PATTERN, reference.name):
        raise _refusal("EnvNotAllowed", f"{field}.secretKeyRef.name", "is not a valid name of a Secret")
    if reference and not any(fnmatchcase(reference.name, pattern) for pattern in policy.allowed_secrets):
        message = f"the template does not allow Secret {reference.name}"
        raise _refusal("EnvNotAllowed", f"{field}.secretKeyRef.name", message)


def _check_resource(field: str, kind: str, value: str, maximum: dict[str, str] | None) -> None:
    if maximum is None:
        raise _refusal("ResourcesNotAllowed", field, "the template does not let sessions choose resources")
    if kind not in RESOURCE_KINDS or kind not in maximum:
        raise _refusal("ResourcesNotAllowed", field, "cannot be chosen, because the template has no maximum for it")
    if parse_quantity(value) > parse_quantity(maximum[kind]):
        raise _refusal("ResourcesNotAllowed", field, f"{value} is above the template's maximum of {maximum[kind]}")


def _refusal(reason: str, field: str, message: str) -> Blocked:
    return Blocked(reason, f"{field}: {message}", failed=True, retry_after=60.0)
