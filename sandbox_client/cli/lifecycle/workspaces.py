"""`sandbox workspaces`: the workspaces that sessions have left in object storage."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
import functools
import sys
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource
from rich.filesize import decimal
from rich.table import Table

from sandbox_client.cli.options import Target, with_target
from sandbox_client.cli.output import table_console
from sandbox_client.cluster.client import AsyncCluster
from sandbox_client.cluster.sessions import SessionApi
from sandbox_client.errors import InvalidArgument
from sandbox_client.lifecycle.durations import describe_age, parse_duration
from sandbox_client.local.named.state_files import data_home
from sandbox_client.stored.workspaces import AsyncStoredWorkspaces, StoredWorkspace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

_STORE_OPTIONS: Final = (
    click.option(
        "--store",
        envvar="SANDBOX_STORE",
        help="s3://BUCKET/PREFIX, or the folder of local sessions. Default: the variable SANDBOX_STORE.",
    ),
    click.option("--local", "is_local", is_flag=True, help="The folder of local sessions that named no --store."),
    click.option("--endpoint-url", envvar="SANDBOX_STORE_ENDPOINT_URL", help="Address of a store other than AWS S3."),
    click.option("--region", help="The bucket's region. Default: as for every AWS tool."),
    click.option(
        "--path-style/--virtual-host-style",
        default=None,
        help="Place of the bucket in the URL. Default: the path if there is an --endpoint-url.",
    ),
)
_YES: Final = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


@dataclasses.dataclass(frozen=True, slots=True)
class Store:
    """The values of the options that select a store."""

    store: str
    is_local: bool
    endpoint_url: str | None
    region: str | None
    path_style: bool | None

    @contextlib.asynccontextmanager
    async def open(self, target: Target) -> AsyncIterator[AsyncStoredWorkspaces]:
        """Open the store: a bucket together with the sessions of the cluster that use it, or a folder."""
        bucket: Any = {"endpoint_url": self.endpoint_url, "region": self.region, "path_style": self.path_style}
        if self.store.startswith("s3://"):
            cluster = AsyncCluster(await SessionApi.open(target.cluster))
            opening = cluster.workspaces(self.store, **bucket)
        elif given := next((name for name, value in bucket.items() if value is not None), ""):
            hint = f"--{given.replace('_', '-')}"
            raise click.BadParameter(f"it has no meaning for the folder {self.store}", param_hint=hint)
        else:
            opening = AsyncStoredWorkspaces.open(self.store, may_be_missing=self.is_local)
        async with await opening as workspaces:
            yield workspaces


class Age(click.ParamType):  # type: ignore[type-arg]
    """A duration."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> dt.timedelta:
        """Return the duration."""
        if isinstance(value, dt.timedelta):
            return value
        try:
            return parse_duration(str(value), "TIME")
        except InvalidArgument as error:
            self.fail(error.message, param, ctx)


def _with_store(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that select a store, and pass them as `store`."""

    @functools.wraps(function)
    def command(
        *args: Any,
        store: str | None,
        is_local: bool,
        endpoint_url: str | None,
        region: str | None,
        path_style: bool | None,
        **kwargs: Any,
    ) -> Any:
        place = _find_store(store, is_local=is_local)
        return function(*args, store=Store(place, is_local, endpoint_url, region, path_style), **kwargs)

    for option in reversed(_STORE_OPTIONS):
        command = option(command)
    return command


def _find_store(store: str | None, *, is_local: bool) -> str:
    if is_local:
        if click.get_current_context().get_parameter_source("store") is ParameterSource.COMMANDLINE:
            raise click.UsageError("give either --store or --local")
        return str(data_home() / "store")
    if store is None:
        raise click.UsageError(
            "name the store: --store s3://BUCKET/PREFIX for sessions of a cluster, or --local for those on this machine"
        )
    return store


@click.group(
    epilog="""\b
Examples:
  export SANDBOX_STORE=s3://my-bucket/sandboxes
  sandbox workspaces list -n team-a
  sandbox workspaces delete -n team-a analysis
  sandbox workspaces prune -n team-a --older-than 30d --dry-run
  sandbox workspaces list --local                      of sessions on this machine"""
)
def workspaces() -> None:
    """List, inspect and delete the workspaces that sessions have left in storage.

    They outlive their sessions. These commands read and delete with your own credentials for the bucket: environment
    variables such as AWS_ACCESS_KEY_ID, a profile, or a role.
    """


@workspaces.command(
    name="list", epilog="\b\nExample:\n  sandbox workspaces list -n team-a --store s3://my-bucket/sandboxes"
)
@_with_store
@with_target
def list_(target: Target, store: Store) -> None:
    """List the stored workspaces of a namespace, with size, age and last session."""

    async def work() -> list[StoredWorkspace]:
        async with store.open(target) as found:
            return await found.list()

    _print_table(target, asyncio.run(work()))


@workspaces.command(
    epilog="\b\nExample:\n  sandbox workspaces show -n team-a analysis --store s3://my-bucket/sandboxes"
)
@click.argument("name")
@_with_store
@with_target
def show(target: Target, store: Store, name: str) -> None:
    """Show one stored workspace."""

    async def work() -> StoredWorkspace:
        async with store.open(target) as found:
            return await found.get(name)

    found = asyncio.run(work())
    lines = [
        f"name:          {found.name}",
        f"size:          {decimal(found.bytes)} in {found.objects} objects",
        f"last write:    {found.modified:%Y-%m-%d %H:%M:%S} UTC, {describe_age(found.age())} ago",
        f"last push:     {f'{found.saved:%Y-%m-%d %H:%M:%S} UTC' if found.saved else 'unknown'}",
        f"last session:  {found.last_session or 'unknown'}",
        f"used by:       {found.used_by or 'no session'}",
        *([f"being pushed:  by {found.pushing}"] if found.pushing else []),
    ]
    target.printer.print(_to_json(found), "\n".join(lines))


@workspaces.command(
    epilog="\b\nExample:\n  sandbox workspaces delete -n team-a analysis --yes --store s3://my-bucket/sandboxes"
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--force", is_flag=True, help="Delete it even if a session uses it.")
@_YES
@_with_store
@with_target
def delete(target: Target, store: Store, names: tuple[str, ...], *, force: bool, yes: bool) -> None:
    """Delete stored workspaces for good. A workspace that a session uses, also a suspended one, is refused."""

    async def look() -> list[StoredWorkspace]:
        async with store.open(target) as found:
            return [await found.get(name) for name in dict.fromkeys(names)]

    async def work() -> None:
        async with store.open(target) as found:
            for each in chosen:
                await found.delete(each.name, force=force)
                target.printer.print_text(f"{each.name} is deleted")

    chosen = asyncio.run(look())
    _confirm(chosen, is_sure=yes)
    asyncio.run(work())
    if target.printer.is_json:
        target.printer.print_json([_to_json(each) for each in chosen])


@workspaces.command(
    epilog="""\b
Examples:
  sandbox workspaces prune -n team-a --older-than 30d --dry-run --store s3://my-bucket/sandboxes
  sandbox workspaces prune --older-than 7d --match 'sandbox-*' --yes          of sessions without a name"""
)
@click.option("--older-than", required=True, type=Age(), metavar="TIME", help="Time without a write, such as 30d.")
@click.option("--match", default="*", show_default=True, metavar="PATTERN", help="Only names like this.")
@click.option("--dry-run", is_flag=True, help="Only list what would be deleted.")
@_YES
@_with_store
@with_target
def prune(target: Target, store: Store, older_than: dt.timedelta, match: str, *, dry_run: bool, yes: bool) -> None:
    """Delete the stored workspaces that were not written for some time and that no session uses.

    Fit for a CronJob, with --yes.
    """

    async def work(*, is_dry: bool) -> list[StoredWorkspace]:
        async with store.open(target) as found:
            return await found.prune(older_than, match=match, dry_run=is_dry)

    if not dry_run and not yes:
        _confirm(asyncio.run(work(is_dry=True)), is_sure=False)
    _print_table(target, asyncio.run(work(is_dry=dry_run)))


def _confirm(found: Iterable[StoredWorkspace], *, is_sure: bool) -> None:
    chosen = list(found)
    if is_sure or not chosen:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask on: add --yes")
    for each in chosen:
        click.echo(f"{each.name}: {decimal(each.bytes)}, last write {describe_age(each.age())} ago", err=True)
    click.confirm(f"Delete {len(chosen)} for good?", abort=True, err=True)


def _print_table(target: Target, found: list[StoredWorkspace]) -> None:
    if target.printer.is_json:
        target.printer.print_json([_to_json(each) for each in found])
        return
    table = Table("NAME", "SIZE", "OBJECTS", "AGE", "LAST SESSION", "USED BY", box=None)
    for each in found:
        size, age = decimal(each.bytes), describe_age(each.age())
        table.add_row(each.name, size, str(each.objects), age, each.last_session, each.used_by)
    table_console().print(table)


def _to_json(found: StoredWorkspace) -> dict[str, Any]:
    value = dataclasses.asdict(found)
    return {key: each.isoformat() if isinstance(each, dt.datetime) else each for key, each in value.items()}
