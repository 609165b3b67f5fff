"""Names of sessions, and the URIs of the files in them. Pure: no I/O."""

from __future__ import annotations

import mimetypes
import posixpath
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote, urlsplit

from sandbox_client.errors import InvalidArgument, NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_client.tools import ToolSpec

HEADER: Final = "sandbox-session"
"""The header of a request that names the conversation's session."""
ARGUMENT: Final = "session"
"""The argument of a tool that does the same."""
SCHEME: Final = "workspace"
URI_TEMPLATE: Final = f"{SCHEME}://{{session}}/{{+path}}"
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_DESCRIPTION: Final = (
    "Name of the session to use, such as an id of the conversation: small letters, digits and `-`. A session that "
    "does not exist is created. Default: the user's own."
)


@dataclass(frozen=True, slots=True)
class StoredPath:
    """A file in the workspace of a session.

    Attributes:
        session: The session's name.
        path: The file's path in the workspace, such as `code-interpreter/chart.png`.
    """

    session: str
    path: str

    @property
    def uri(self) -> str:
        """The URI of the resource."""
        return f"{SCHEME}://{self.session}/{quote(self.path)}"

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return posixpath.basename(self.path)

    @property
    def mime_type(self) -> str | None:
        """The MIME type that the file's name suggests, or None."""
        return mimetypes.guess_type(self.path)[0]


def default_session(digest: str) -> str:
    """Return the name of a user's own session.

    Args:
        digest: Hex digits that stand for the user. Otherwise another user could take the name first.
    """
    return f"mcp-{digest[:20]}"


def choose_session(default: str, header: str | None, arguments: Mapping[str, Any]) -> str:
    """Return the name of the session that a request is for.

    Args:
        default: The name of the user's own session.
        header: The header `Sandbox-Session`, or None.
        arguments: The arguments of the tool.

    Raises:
        InvalidArgument: It cannot be the name of a session, or the argument differs from the header.
    """
    given = arguments.get(ARGUMENT)
    if header is not None and given not in (None, header):
        message = f"this conversation has the session {header!r}: leave out {ARGUMENT}"
        raise InvalidArgument(message, field=ARGUMENT)
    name = header if header is not None else given
    if name is None:
        return default
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        message = (
            f"{str(name)[:100]!r} cannot be the name of a session: use 1 to 63 small letters, digits and -, and begin "
            "and end with a letter or digit"
        )
        raise InvalidArgument(message, field=HEADER if header is not None else ARGUMENT)
    return name


def with_session(spec: ToolSpec) -> ToolSpec:
    """Return a tool that takes the name of a session too."""
    schema = dict(spec.schema)
    schema["properties"] = {**schema["properties"], ARGUMENT: {"type": "string", "description": _DESCRIPTION}}
    return replace(spec, schema=schema)


def read_uri(uri: str) -> StoredPath:
    """Return the file that a URI names.

    Raises:
        NotFound: It is not one of the URIs of this server.
    """
    try:
        parts = urlsplit(uri)
        session, path = parts.netloc, unquote(parts.path.removeprefix("/"), errors="strict")
    except ValueError:
        session = path = ""
    if not uri.startswith(f"{SCHEME}://") or not _NAME.fullmatch(session) or not path:
        message = f"there is no resource {uri[:200]!r}: resources are {URI_TEMPLATE}"
        raise NotFound(message, reason="RESOURCE_NOT_FOUND", field="uri")
    return StoredPath(session, path)
