"""`sandbox describe`: a session's object, conditions and events on one page."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import click

from sandbox_client.cli.options import Target, with_session_name, with_target
from sandbox_client.local.address import local_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_WIDTH: Final = 12


@click.command(epilog="\b\nExamples:\n  sandbox describe my-session\n  sandbox describe my-session -o yaml")
@with_session_name
@with_target
def describe(target: Target, name: str) -> None:
    """Show everything that the cluster, or this machine, knows about a session.

    Shows its spec, status, conditions and events. Events need permission to list them, and are kept for an hour.
    """
    import asyncio  # noqa: PLC0415 - slow to import, and help does not need it

    if (local := local_name(name)) is not None:
        from sandbox_client.cli.local.sessions import find_object  # noqa: PLC0415 - only for local sessions

        found: tuple[dict[str, Any], list[dict[str, Any]], str] = find_object(target, local), [], ""
    else:
        found = asyncio.run(_read(target, name))
    session, events, note = found
    if target.printer.is_json:
        target.printer.print_json({"session": session, "events": events})
    else:
        for line in description(session, events):
            target.printer.print_text(line)
    if note:
        target.printer.write_stderr(f"{note}\n")


async def _read(target: Target, name: str) -> tuple[dict[str, Any], list[dict[str, Any]], str]:
    from sandbox_client.cluster.sessions import SessionApi  # noqa: PLC0415 - slow to import, and help does not need it
    from sandbox_client.cluster.top import ClusterReader  # noqa: PLC0415 - same
    from sandbox_client.errors import SandboxError  # noqa: PLC0415 - same

    cluster = await SessionApi.open(target.cluster)
    session = await cluster.get(name)
    try:
        reader = await ClusterReader.open(target.cluster, everywhere=False)
        return session, await reader.events(session), ""
    except SandboxError as error:
        return session, [], f"its events are left out: {error}"


def description(session: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines for people."""
    metadata = session["metadata"]
    yield from _fields({"Name": metadata["name"], "Namespace": metadata.get("namespace")})
    yield from _fields({"Created": metadata.get("creationTimestamp")})
    for title in ("labels", "annotations"):
        if metadata.get(title):
            yield from _tree(title.capitalize(), metadata[title])
    yield from _tree("Spec", session.get("spec", {}))
    status = dict(session.get("status", {}))
    conditions = status.pop("conditions", [])
    yield from _tree("Status", status)
    if conditions:
        yield "Conditions:"
        for each in conditions:
            text = " ".join(str(each.get(key, "")) for key in ("type", "status", "reason")).strip()
            message = f": {each['message']}" if each.get("message") else ""
            yield f"  {text}{message}"
    yield "Events:" if events else "Events:      none"
    for event in events:
        when = event.get("lastTimestamp") or event.get("eventTime") or ""
        yield f"  {when}  {event.get('type', '')} {event.get('reason', '')}: {event.get('message', '')}"


def _fields(values: Mapping[str, Any]) -> Iterator[str]:
    for key, value in values.items():
        if value not in (None, ""):
            yield f"{key + ':':{_WIDTH}} {value}"


def _tree(title: str, value: Any, indent: str = "") -> Iterator[str]:
    if isinstance(value, dict) and value:
        yield f"{indent}{title}:"
        for key, inner in value.items():
            yield from _tree(str(key), inner, f"{indent}  ")
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield f"{indent}{title}: {text}"
