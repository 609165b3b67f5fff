"""Tells the names of sessions apart: `NAME` is a session of the cluster, `local/NAME` one on this machine. Pure."""

from __future__ import annotations

import re
from typing import Final

from sandbox_client.errors import InvalidArgument

LOCAL_PREFIX: Final = "local/"
_MAX_NAME: Final = 63
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


def local_name(address: object) -> str | None:
    """Return NAME if the address is `local/NAME`, and None if it names a session of the cluster.

    Raises:
        InvalidArgument: The address begins with `local/`, but NAME is not valid.
    """
    if not isinstance(address, str) or not address.startswith(LOCAL_PREFIX):
        return None
    return check_local_name(address)


def check_local_name(name: str) -> str:
    """Return NAME of `NAME` or `local/NAME`.

    Raises:
        InvalidArgument: It is not valid. The rules are those of a cluster.
    """
    bare = name.removeprefix(LOCAL_PREFIX)
    if len(bare) > _MAX_NAME or not _NAME.fullmatch(bare):
        raise InvalidArgument(
            f"{bare!r} is not a valid name: use 1 to {_MAX_NAME} lowercase letters, digits and '-', with a letter or "
            "digit at both ends",
            field="name",
        )
    return bare
