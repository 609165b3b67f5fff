"""Parsed templates. Each version is parsed and checked once, because many sessions and pools share a template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sandbox_operator.api.models import Template, parse
from sandbox_operator.errors import SpecError
from sandbox_operator.kube.resources import TEMPLATES
from sandbox_operator.manifests.network_policy import build_network_policy
from sandbox_operator.manifests.pod import hash_pod
from sandbox_operator.manifests.template_parts import check_metadata
from sandbox_operator.session.admission import default_resources
from sandbox_operator.watch.transform import MAX_TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_operator.settings import Settings
    from sandbox_operator.watch.store import Name, Store


@dataclass(frozen=True, slots=True)
class FoundTemplate:
    """The current version of a template, or the reason why it cannot be used."""

    template: Template | None = None
    problem: str = ""
    """Its error if it is invalid; "" if it is valid or does not exist."""
    pod_hash: str = ""
    """Hash of a pod with the template's default resources."""


_NOT_FOUND: Final = FoundTemplate()
_MAX_PARSED: Final = 256
"""Templates that stay parsed. Others are parsed again when they are used."""


class TemplateCache:
    """Returns the store's templates, parsed."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store, self._settings = store, settings
        self._parsed: dict[Name, tuple[object, FoundTemplate]] = {}

    def find(self, namespace: str, name: str) -> FoundTemplate:
        """Return a template by its namespace and name."""
        raw = self._store.get(TEMPLATES, (namespace, name))
        if raw is None:
            self._parsed.pop((namespace, name), None)
            return _NOT_FOUND
        known = self._parsed.get((namespace, name))
        if known is None or known[0] is not raw:
            known = (raw, self._parse(raw))
            self._parsed.pop((namespace, name), None)
            if len(self._parsed) >= _MAX_PARSED:
                del self._parsed[next(iter(self._parsed))]
            self._parsed[namespace, name] = known
        return known[1]

    def _parse(self, raw: Mapping[str, Any]) -> FoundTemplate:
        if raw["metadata"].get("abridged"):
            return FoundTemplate(problem=f"spec: has more than {MAX_TEMPLATE} characters; move files into the image")
        try:
            template = parse(Template, raw)
            check_metadata(template, self._settings)
            build_network_policy(template, template.spec.egress.mode, self._settings)
        except SpecError as error:
            return FoundTemplate(problem=str(error))
        digest = hash_pod(template, default_resources(template), self._settings.images)
        return FoundTemplate(template, pod_hash=digest)
