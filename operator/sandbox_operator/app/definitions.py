"""Brings the cluster's CustomResourceDefinitions to this operator's version, for the hook of the chart's upgrades.

Helm installs definitions once and never changes them, so an upgrade of the chart alone would leave the old ones.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sandbox_operator.api.crds import VERSION_ANNOTATION, build_definitions
from sandbox_operator.errors import NotFoundError
from sandbox_operator.kube.client import KubeClient
from sandbox_operator.kube.connection import load_connection
from sandbox_operator.kube.resources import DEFINITIONS
from sandbox_operator.kube.write_hook import WriteHook

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_operator.kube.client import KubeApi


async def apply_from(environment: Mapping[str, str]) -> list[str]:
    """Connect as the operator would, and apply all definitions.

    Returns:
        One line for each definition, which says what was done.

    Raises:
        ApiError: The API server refused a call.
        SettingsError: No API server is configured.
    """
    async with KubeClient(load_connection(environment), WriteHook()) as api:
        return await apply_definitions(api)


async def apply_definitions(api: KubeApi) -> list[str]:
    """Create or replace each definition, unless a newer operator has written it. Objects stay as they are.

    Returns:
        One line for each definition, which says what was done.

    Raises:
        ApiError: The API server refused a call. A ConflictError: another process changed the definition meanwhile.
    """
    return [await _apply(api, definition) for definition in build_definitions().values()]


async def _apply(api: KubeApi, definition: dict[str, Any]) -> str:
    name, version = definition["metadata"]["name"], version_of(definition)
    try:
        found = await api.get(DEFINITIONS, "", name)
    except NotFoundError:
        await api.create(DEFINITIONS, "", definition)
        return f"{name}: created"
    if _number(version_of(found)) > _number(version):
        # An older definition would remove fields that objects use.
        return f"{name}: kept, because version {version_of(found)} is newer than {version}"
    # A merge would keep fields that this version no longer has.
    patch = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": found["metadata"]["resourceVersion"]},
        {"op": "replace", "path": "/spec", "value": definition["spec"]},
        {
            "op": "add",
            "path": "/metadata/annotations",
            "value": {**found["metadata"].get("annotations", {}), VERSION_ANNOTATION: version},
        },
    ]
    stored = await api.patch(DEFINITIONS, "", name, patch, kind="json")
    has_changed = stored["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"]
    return f"{name}: {'upgraded' if has_changed else 'unchanged'}"


def version_of(definition: Mapping[str, Any]) -> str:
    """Return the version of the operator that wrote a definition, or "" if it has none."""
    return str(definition["metadata"].get("annotations", {}).get(VERSION_ANNOTATION, ""))


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
