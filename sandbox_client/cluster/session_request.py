"""Builds the SandboxSession of a create: checks each argument, and refuses those that contradict `spec`. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from sandbox_client.errors import InvalidArgument, NotFound
from sandbox_client.lifecycle.durations import format_duration, parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sandbox_client.lifecycle.durations import Duration

GROUP: Final = "sandboxsessions.dev"
VERSION: Final = "v1alpha1"
RESOURCE_KINDS: Final = ("cpu", "memory", "ephemeral-storage")
UNNAMED_PREFIX: Final = "sandbox-"
"""Beginning of the names of sessions that the caller did not name."""
_EGRESS: Final = {"none": "None", "allowlist": "Allowlist", "public": "Public"}
_ON_IDLE: Final = {"suspend": "Suspend", "delete": "Delete"}
_RESERVED: Final = re.compile(r"(?:.*\.)?(?:sandboxsessions\.dev|kubernetes\.io|k8s\.io)")
_LABEL_PREFIX: Final = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_WORD: Final = re.compile(r"(?=.{1,63}$)[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_QUANTITY: Final = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
_NAME: Final = re.compile(r"(?=.{1,63}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """A session to create. `AsyncSandbox.create` describes each field. None stands for the template's default.

    Attributes:
        is_ephemeral: Whether the caller deletes the session. If its program is killed first, the operator does.
        own_labels: Labels with this project's prefix, for its own programs. Not checked.
        annotations: Annotations, for the same.
    """

    name: str | None = None
    template: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    resources: Mapping[str, Any] = field(default_factory=dict)
    egress: str | None = None
    workspace: str | None = None
    idle_timeout: Duration | None = None
    lifetime: Duration | None = None
    on_idle: str | None = None
    keep_variables: bool | None = None
    is_ephemeral: bool = False
    own_labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    def to_object(self, name: str) -> dict[str, Any]:
        """Return the custom resource.

        Raises:
            InvalidArgument: An argument is wrong, or `spec` sets the same field; `field` names the argument.
        """
        spec = _copy(self.spec)
        for argument, path, value in self._settings():
            _put(spec, argument, path, value)
        spec.setdefault("templateRef", {"name": "default"})
        metadata: dict[str, Any] = {"name": _check_session_name(name)}
        if self.name is None or self.is_ephemeral:
            # The operator deletes a suspended session after some time if its name was generated, or looks so.
            metadata["generateName"] = UNNAMED_PREFIX
        if labels := {**check_labels(self.labels), **self.own_labels}:
            metadata["labels"] = labels
        if self.annotations:
            metadata["annotations"] = dict(self.annotations)
        return {"apiVersion": f"{GROUP}/{VERSION}", "kind": "SandboxSession", "metadata": metadata, "spec": spec}

    def _settings(self) -> Iterator[tuple[str, tuple[str, ...], Any]]:
        """Yield each argument that was given: its name, the path of its field in `spec`, and the field's value."""
        if self.template is not None:
            yield "template", ("templateRef", "name"), _check_name(self.template, "template")
        if self.env:
            yield "env", ("env",), _env(self.env)
        for part, amounts in _resources(self.resources).items():
            yield "resources", ("resources", part), amounts
        if self.egress is not None:
            yield "egress", ("egress",), _choose(self.egress, _EGRESS, "egress")
        if self.workspace is not None:
            yield "workspace", ("workspace", "name"), _check_name(self.workspace, "workspace")
        for argument, key in (("idle_timeout", "idleTimeout"), ("lifetime", "maxLifetime")):
            if (given := getattr(self, argument)) is not None:
                yield argument, ("lifecycle", key), format_duration(parse_duration(given, argument))
        if self.on_idle is not None:
            yield "on_idle", ("lifecycle", "onIdle"), _choose(self.on_idle, _ON_IDLE, "on_idle")
        if self.keep_variables is not None:
            yield "keep_variables", ("lifecycle", "keepVariables"), _check_flag(self.keep_variables, "keep_variables")


def check_labels(labels: Mapping[str, str], *, may_be_reserved: bool = False) -> dict[str, str]:
    """Return labels of a session that the caller gave.

    Args:
        labels: The labels.
        may_be_reserved: Whether the caller only looks for the labels.

    Raises:
        InvalidArgument: A label is reserved, or Kubernetes does not allow it.
    """
    for key, value in _check_mapping(labels, "labels").items():
        prefix, separator, word = key.rpartition("/")
        if _RESERVED.fullmatch(prefix) and not may_be_reserved:
            message = f"{key!r} is reserved: labels that begin with {prefix}/ belong to Kubernetes and this operator"
            raise InvalidArgument(message, field="labels")
        if not _LABEL_WORD.fullmatch(word) or (separator and not _LABEL_PREFIX.fullmatch(prefix)):
            message = (
                f"{key!r} is not the key of a label: use at most 63 letters, digits, -, _ and ., which begin and end "
                "with a letter or digit, after an optional DNS name and /"
            )
            raise InvalidArgument(message, field="labels")
        if not isinstance(value, str) or (value and not _LABEL_WORD.fullmatch(value)):
            message = (
                f"{value!r}, the value of {key}, is not a label's value: use a str of at most 63 letters, digits, "
                "-, _ and ., which begins and ends with a letter or digit"
            )
            raise InvalidArgument(message, field="labels")
    return dict(labels)


def _copy(spec: Mapping[str, Any]) -> dict[str, Any]:
    try:
        copied: dict[str, Any] = json.loads(json.dumps(_check_mapping(spec, "spec"), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"it cannot be written as JSON: {error}", field="spec") from None
    return copied


def _put(spec: dict[str, Any], argument: str, path: tuple[str, ...], value: Any) -> None:
    place: Any = spec
    for index, key in enumerate(path):
        where = "".join(f"[{each!r}]" for each in path[: index + 1])
        if index == len(path) - 1:
            if key in place:
                message = f"it is given twice, as the argument {argument} and as spec{where}: leave one of them out"
                raise InvalidArgument(message, field=argument)
            place[key] = value
            return
        place = place.setdefault(key, {})
        if not isinstance(place, dict):
            raise InvalidArgument(f"spec{where} is {_type(place)}, not a dict", field="spec")


def _env(env: Mapping[str, str]) -> list[dict[str, str]]:
    for key, value in _check_mapping(env, "env").items():
        if not isinstance(value, str):
            raise InvalidArgument(f"the value of {key} is {_type(value)}: give a str", field="env")
    return [{"name": key, "value": value} for key, value in env.items()]


def _resources(resources: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return requests and limits. A mapping without these two keys is the limits."""
    given = _check_mapping(resources, "resources")
    if not given:
        return {}
    parts = given if {"requests", "limits"} & given.keys() else {"limits": given}
    if unknown := ", ".join(sorted(parts.keys() - {"requests", "limits"})):
        raise InvalidArgument(f"{unknown} is beside requests and limits: move it into one of them", field="resources")
    return {part: _amounts(amounts, part) for part, amounts in parts.items()}


def _amounts(amounts: Any, part: str) -> dict[str, str]:
    checked = {}
    for kind, amount in _check_mapping(amounts, "resources").items():
        if kind not in RESOURCE_KINDS:
            raise InvalidArgument(f"{kind!r} in {part} is none of {', '.join(RESOURCE_KINDS)}", field="resources")
        is_number = isinstance(amount, int | float) and not isinstance(amount, bool)
        if not (is_number or isinstance(amount, str)) or not _QUANTITY.fullmatch(str(amount)):
            message = f"{amount!r}, the {kind} in {part}, is not a quantity such as 2, 500m or 4Gi"
            raise InvalidArgument(message, field="resources")
        checked[kind] = str(amount)
    return checked


def _check_mapping(value: Any, argument: str) -> dict[str, Any]:
    try:
        found = dict(value)
    except (TypeError, ValueError):
        raise InvalidArgument(f"{_type(value)} is not a mapping: give a dict", field=argument) from None
    for key in found:
        if not isinstance(key, str):
            raise InvalidArgument(f"the key {key!r} is {_type(key)}: give a str", field=argument)
    return found


def _check_name(value: Any, argument: str) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        message = f"{value!r} is not a name: use at most 63 small letters, digits and -"
        raise InvalidArgument(message, field=argument)
    return value


def _is_session_name(value: object) -> TypeGuard[str]:
    """Return whether a session can have this name."""
    return isinstance(value, str) and _LABEL_PREFIX.fullmatch(value) is not None


def subject_of(name: str) -> str:
    """Return what error messages call a session. Each name passes here before it becomes a part of a URL.

    Raises:
        NotFound: No session can have that name. HTTP clients shorten a path that ends with `.` or `..`, so a delete of
            such a name would delete all sessions of the namespace.
    """
    if not _is_session_name(name):
        raise NotFound(f"there is no session {str(name)[:300]!r}: it is not a session's name", reason="NOT_FOUND")
    return f"session {name}"


def _check_session_name(value: Any) -> str:
    if not _is_session_name(value):
        message = f"{value!r} is not a session's name: use small letters, digits, - and ., such as team-1"
        raise InvalidArgument(message, field="name")
    return value


def _check_flag(value: Any, argument: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidArgument(f"{value!r} is neither True nor False", field=argument)
    return value


def _choose(value: Any, choices: Mapping[str, str], argument: str) -> str:
    found = choices.get(value.lower()) if isinstance(value, str) else None
    if found is None:
        raise InvalidArgument(f"{value!r} is none of {', '.join(choices)}", field=argument)
    return found


def _type(value: Any) -> str:
    return f"a value of type {type(value).__name__}"
