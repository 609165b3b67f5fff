"""`sandbox timeout`: moves the time at which a session ends."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING

import click

from sandbox_client.cli.gateway.sessions import control_of
from sandbox_client.cli.local.sessions import refuse_cluster
from sandbox_client.cli.options import Target, with_target
from sandbox_client.cluster.client import AsyncCluster
from sandbox_client.cluster.sessions import SessionApi
from sandbox_client.errors import InvalidArgument
from sandbox_client.lifecycle.durations import describe_age, parse_duration
from sandbox_client.local.address import local_name
from sandbox_client.local.named.control import NamedControl

if TYPE_CHECKING:
    from sandbox_client.lifecycle.durations import Duration


class Expiry(click.ParamType):  # type: ignore[type-arg]
    """A duration from now, or a time."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Duration | dt.datetime | None:
        """Return the duration or the time. None stands for `none`."""
        if value == "none":
            return None
        text = str(value)
        try:
            parse_duration(text, "TIME")
        except InvalidArgument as error:
            try:
                moment = dt.datetime.fromisoformat(text)
            except ValueError:
                self.fail(f"{error.message}; or a time such as 2030-01-31T18:00:00Z", param, ctx)
            return moment if moment.tzinfo else moment.astimezone()
        return text


@click.command(
    epilog="""\b
Examples:
  sandbox timeout my-session 30m                     it ends in half an hour
  sandbox timeout my-session 2030-01-31T18:00:00Z
  sandbox timeout my-session none                    only its other bounds apply"""
)
@click.argument("name")
@click.argument("time", type=Expiry())
@with_target
def timeout(target: Target, name: str, time: Duration | dt.datetime | None) -> None:
    """Move the time at which a session ends: later or earlier, while it runs or is suspended.

    TIME is a duration from now, a time, or `none`. The earliest of this time, the session's maximum lifetime and its
    idle timeout counts.
    """

    async def work() -> dt.datetime | None:
        if (bare := local_name(name)) is not None:
            refuse_cluster(target, bare)
            return await NamedControl(bare).set_timeout(time)
        with control_of(target, name) as control:
            if control is not None:
                return await control.set_timeout(time)
        return await AsyncCluster(await SessionApi.open(target.cluster)).set_timeout(name, time)

    ends = asyncio.run(work())
    text = f"{name} has no end of its own"
    if ends is not None:
        # One second may pass until this line.
        left = ends - dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1)
        text = f"{name} ends at {ends:%Y-%m-%d %H:%M:%S} UTC, in {describe_age(left)}"
    target.printer.print({"name": name, "expires": ends.isoformat() if ends else None}, text)
