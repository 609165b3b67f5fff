"""Reads the logs of a session's containers, once or while they grow."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Any

from sandbox_client.cluster.api import call_api, follow_core, read_core
from sandbox_client.cluster.start_policy import describe_failure
from sandbox_client.errors import NotFound, SandboxUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sandbox_client.cluster.sessions import SessionApi


async def read_logs(cluster: SessionApi, name: str, containers: Sequence[str], *, tail: int) -> dict[str, str]:
    """Return the last log lines of a session, by container.

    Args:
        cluster: The session's cluster and namespace.
        name: The session's name.
        containers: `agent`, `sandbox` or both.
        tail: Maximum number of lines of each.

    Raises:
        NotFound: The session has no pod at the moment.
    """
    return {
        each: str(await _get(read_core, cluster, name, each, tailLines=tail), "utf-8", "replace") for each in containers
    }


async def follow_logs(
    cluster: SessionApi, name: str, containers: Sequence[str], *, tail: int
) -> dict[str, Iterator[str]]:
    """Return the lines of a session's logs, by container, the last ones first, until its pod ends.

    Arguments and errors as for `read_logs`. Each iterator blocks until there is a line, and raises SandboxUnavailable
    if the connection is lost.
    """
    return {
        each: _lines(await _get(follow_core, cluster, name, each, tailLines=tail, follow="true")) for each in containers
    }


async def _get(function: Any, cluster: SessionApi, name: str, container: str, **query: str | int) -> Any:
    session = await cluster.get(name)
    pod = session.get("status", {}).get("podName")
    if not pod:
        raise NotFound(f"session {name} has no pod: {describe_failure(session)}", reason="NO_POD")
    place = ("namespaces", cluster.namespace, "pods", pod, "log")
    return await call_api(f"pod {pod}", function, cluster.client, *place, container=container, **query)


def _lines(answer: Any) -> Iterator[str]:
    from urllib3.exceptions import HTTPError  # noqa: PLC0415 - slow to import

    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest = ""
    try:
        for chunk in answer.stream():
            *lines, rest = (rest + decoder.decode(chunk)).split("\n")
            yield from lines
    except (HTTPError, OSError) as error:
        raise SandboxUnavailable(f"the connection to the log was lost: {error}", reason="API_SERVER") from error
    if rest:
        yield rest
