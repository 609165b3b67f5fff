"""The options of `sandbox create` that set what a session is and how long it lasts."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

import click

from sandbox_client.cli.options import read_pair
from sandbox_client.cluster.session_request import SessionRequest
from sandbox_client.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_OPTIONS: Final = (
    click.option("--template", help="Name of the SandboxTemplate. Default: default."),
    click.option(
        "--env", multiple=True, metavar="KEY=VALUE", help="Environment variable for code and commands. May be repeated."
    ),
    click.option(
        "-l", "--label", "labels", multiple=True, metavar="KEY=VALUE", help="Kubernetes label. May be repeated."
    ),
    click.option("--workspace", metavar="NAME", help="Workspace in object storage. Default: the session's name."),
    click.option("--idle-timeout", metavar="TIME", help="Time without use, such as 15m, until --on-idle happens."),
    click.option("--lifetime", metavar="TIME", help="Longest time that a pod of the session lasts, such as 8h."),
    click.option("--on-idle", type=click.Choice(["suspend", "delete"]), help="What happens to an idle session."),
    click.option(
        "--egress",
        type=click.Choice(["none", "allowlist", "public"]),
        help="Network access of code, at most that of the template.",
    ),
    click.option("--cpu", metavar="AMOUNT", help="The most CPU that code may use, such as 2 or 500m."),
    click.option("--memory", metavar="AMOUNT", help="The most memory that code may use, such as 4Gi."),
    click.option("--limits", metavar="KIND=AMOUNT,...", help="Limits of all kinds: cpu, memory, ephemeral-storage."),
    click.option("--requests", metavar="KIND=AMOUNT,...", help="What the scheduler reserves on the node."),
    click.option(
        "--keep-variables", is_flag=True, default=None, help="Restore Python variables after a suspend (best effort)."
    ),
)
_WRITTEN: Final = {"name": "NAME", "labels": "--label", "resources": "--cpu, --memory, --limits or --requests"}
"""Option names of those arguments of SessionRequest that have another name."""


def with_create_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command with the argument NAME, and pass all of them as `request`, a SessionRequest."""

    @functools.wraps(function)
    def command(
        *args: Any,
        name: str | None,
        env: tuple[str, ...],
        labels: tuple[str, ...],
        cpu: str | None,
        memory: str | None,
        limits: str | None,
        requests: str | None,
        **kwargs: Any,
    ) -> Any:
        own = ("template", "workspace", "idle_timeout", "lifetime", "on_idle", "egress", "keep_variables")
        request = SessionRequest(
            name,
            env=_pairs(env, "--env"),
            labels=_pairs(labels, "--label"),
            resources=_resources(cpu, memory, limits, requests),
            **{key: kwargs.pop(key) for key in own},
        )
        _check(request)
        return function(*args, request=request, **kwargs)

    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def _check(request: SessionRequest) -> None:
    try:
        request.to_object(request.name if request.name is not None else "unnamed")
    except InvalidArgument as error:
        hint = _WRITTEN.get(error.field, f"--{error.field.replace('_', '-')}")
        raise click.BadParameter(error.message, param_hint=hint) from error


def _pairs(words: Iterable[str], option: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for word in words:
        key, value = read_pair(word, option)
        if key in pairs:
            raise click.BadParameter(f"{key} is given twice", param_hint=option)
        pairs[key] = value
    return pairs


def _resources(
    cpu: str | None, memory: str | None, limits: str | None, requests: str | None
) -> dict[str, dict[str, str]]:
    most = _pairs(limits.split(","), "--limits") if limits is not None else {}
    for kind, amount in (("cpu", cpu), ("memory", memory)):
        if amount is None:
            continue
        if kind in most:
            raise click.BadParameter(f"{kind} is also in --limits: leave one of them out", param_hint=f"--{kind}")
        most[kind] = amount
    reserved = _pairs(requests.split(","), "--requests") if requests is not None else {}
    return {part: amounts for part, amounts in (("requests", reserved), ("limits", most)) if amounts}
