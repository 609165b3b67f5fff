"""`sandbox keys`: the API keys of a gateway in a cluster."""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import replace
from typing import Any, Final

import click
from rich.table import Table

from sandbox_client.cli.options import Target, with_target
from sandbox_client.cli.output import table_console
from sandbox_client.cluster.api import open_client
from sandbox_client.errors import NotFound
from sandbox_client.lifecycle.durations import describe_age, parse_duration
from sandbox_client.lifecycle.session_info import format_time
from sandbox_gateway.access.keys import (
    ApiKey,
    check_key_name,
    from_secret,
    hash_key,
    new_key,
    new_signing_pair,
    to_secret,
)
from sandbox_gateway.access.kube import KubeAccess

_GATEWAY_NAMESPACE: Final = click.option(
    "--gateway-namespace",
    default="sandbox-system",
    show_default=True,
    envvar="SANDBOX_GATEWAY_NAMESPACE",
    help="Namespace of the gateway, where the keys are kept.",
)


@click.group(
    epilog="""\b
Examples:
  sandbox keys create ci -n team-a --max-sessions 20 --max-lifetime 8h
  sandbox keys create agents -n team-a --signing    also for AWS's SDKs
  sandbox keys list
  sandbox keys revoke ci"""
)
def keys() -> None:
    """Create, list and revoke the API keys of a gateway in a cluster.

    A key reaches the sessions of one namespace, and no others. Only its hash is stored.
    """


@keys.command()
@click.argument("name")
@click.option(
    "--template", "templates", multiple=True, help="A SandboxTemplate that it may use. Repeatable. Default: all."
)
@click.option("--max-sessions", type=click.IntRange(min=1), help="Sessions at a time. Default: no limit.")
@click.option("--per-minute", type=click.IntRange(min=1), help="Sessions created in a minute, for each replica.")
@click.option("--max-lifetime", metavar="DURATION", help="Longest time of a session from its start, such as 8h.")
@click.option("--signing", is_flag=True, help="Also make a pair that signs requests of AWS's SDKs.")
@_GATEWAY_NAMESPACE
@with_target
def create(
    target: Target,
    name: str,
    templates: tuple[str, ...],
    max_sessions: int | None,
    per_minute: int | None,
    max_lifetime: str | None,
    signing: bool,  # noqa: FBT001 - click passes it by name
    gateway_namespace: str,
) -> None:
    """Create a key for the namespace of -n, and print it. It cannot be shown again."""
    seconds = parse_duration(max_lifetime, "max-lifetime").total_seconds() if max_lifetime else None
    api, namespace = _open(target, gateway_namespace)
    secret = new_key()
    key = ApiKey(
        name=check_key_name(name),
        sha256=hash_key(secret),
        namespace=namespace,
        templates=frozenset(templates) or None,
        max_sessions=max_sessions,
        per_minute=per_minute,
        max_seconds=seconds,
    )
    shown = {"name": name, "namespace": namespace, "api_key": secret}
    lines = [secret]
    if signing:
        access_key_id, signing_secret = new_signing_pair()
        key = replace(key, access_key_id=access_key_id, signing_secret=signing_secret)
        shown |= {"access_key_id": access_key_id, "secret_access_key": signing_secret}
        lines += [f"AWS_ACCESS_KEY_ID={access_key_id}", f"AWS_SECRET_ACCESS_KEY={signing_secret}"]
    asyncio.run(api.create_secret(to_secret(key)))
    target.printer.print(shown, "\n".join(lines))


@keys.command(name="list")
@_GATEWAY_NAMESPACE
@with_target
def list_(target: Target, gateway_namespace: str) -> None:
    """List the keys, without the keys themselves."""
    api, _ = _open(target, gateway_namespace)
    found = [key for secret in asyncio.run(api.list_keys()) if (key := from_secret(secret)) is not None]
    found.sort(key=lambda key: key.name)
    if target.printer.is_json:
        target.printer.print_json([_describe(key) for key in found])
        return
    table_console().print(_table(found))


@keys.command()
@click.argument("name")
@_GATEWAY_NAMESPACE
@with_target
def revoke(target: Target, name: str, gateway_namespace: str) -> None:
    """Revoke a key. The gateway refuses it within seconds; its sessions continue until their end."""
    api, _ = _open(target, gateway_namespace)
    try:
        asyncio.run(api.delete_key(check_key_name(name)))
    except NotFound as error:
        if error.reason != "NOT_FOUND":
            raise
        message = f"there is no key {name} in the namespace {gateway_namespace}. `sandbox keys list` lists them"
        raise NotFound(message, reason="NOT_FOUND", field="name") from None
    target.printer.print({"name": name, "revoked": True}, f"revoked {name}")


def _open(target: Target, gateway_namespace: str) -> tuple[KubeAccess, str]:
    client, namespace, _ = open_client(target.cluster)
    return KubeAccess(client, gateway_namespace), namespace


def _describe(key: ApiKey) -> dict[str, Any]:
    return {
        "name": key.name,
        "namespace": key.namespace,
        "templates": None if key.templates is None else sorted(key.templates),
        "max_sessions": key.max_sessions,
        "per_minute": key.per_minute,
        "max_lifetime": key.max_seconds,
        "access_key_id": key.access_key_id or None,
        "created": format_time(key.created_at) if key.created_at else None,
        "last_used": format_time(key.last_used) if key.last_used else None,
    }


def _table(found: list[ApiKey]) -> Table:
    titles = ("NAME", "NAMESPACE", "TEMPLATES", "SESSIONS", "PER MINUTE", "LIFETIME", "SIGNS AS", "AGE", "LAST USED")
    table = Table(*titles, box=None)
    now = dt.datetime.now(dt.UTC)
    for key in found:
        table.add_row(
            key.name,
            key.namespace,
            "all" if key.templates is None else ",".join(sorted(key.templates)),
            str(key.max_sessions or "-"),
            str(key.per_minute or "-"),
            f"{key.max_seconds:g}s" if key.max_seconds else "-",
            key.access_key_id or "-",
            *(describe_age(now - moment) if moment else "-" for moment in (key.created_at, key.last_used)),
        )
    return table
