"""Hooks of `make docs`: pages from outside docs/, the generated reference, and links into the repository.

A link to a file that is not a page becomes plain text, because the site cannot show the file. A link to a file that
does not exist is a warning, which fails a strict build.
"""

from __future__ import annotations

import ast
import logging
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from properdocs.structure.files import File
from pygments.formatters import HtmlFormatter
from site_reference import build_protocol_page, build_resources_page, read_descriptors

if TYPE_CHECKING:
    from properdocs.config.defaults import ProperDocsConfig
    from properdocs.structure.files import Files
    from properdocs.structure.pages import Page

ROOT: Final = Path(__file__).resolve().parent.parent
PAGES: Final = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/NOTES.md": "benchmark-notes.md",
    "deploy/helm/sandbox-operator/README.md": "chart.md",
}
"""Pages of the site that are files elsewhere in the repository."""
SYNCHRONOUS: Final = frozenset([
    "Cluster", "Contexts", "Files", "Process", "Processes", "Sandbox", "StoredWorkspaces", "Workspace"
])  # fmt: skip
"""Classes that are derived from the asynchronous ones at import. Those have the documentation."""
_LINK: Final = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
_FENCE: Final = re.compile(r"(^ *```.*?^ *```$)", re.MULTILINE | re.DOTALL)

_log = logging.getLogger("properdocs.hooks.site")


def on_files(files: Files, *, config: ProperDocsConfig) -> Files:
    """Add the pages that are not in docs/."""
    added = {page: (ROOT / source).read_text() for source, page in PAGES.items()}
    added["reference/sdk.md"] = build_sdk_page()
    added["reference/tools.md"] = build_tools_page()
    added["reference/protocol.md"] = build_protocol_page(read_descriptors())
    added["reference/resources.md"] = build_resources_page()
    added["pygments.css"] = build_style()
    for name, content in added.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Point the links of a page at pages of the site."""
    sources = {target: source for source, target in PAGES.items()}
    place = page.file.src_uri
    return resolve_links(markdown, sources.get(place, f"docs/{place}"), place)


def resolve_links(markdown: str, source: str, place: str) -> str:
    """Return the text of a page with its links made relative to its place on the site.

    Args:
        markdown: The page.
        source: The page's path in the repository.
        place: The page's path on the site.
    """
    parts = _FENCE.split(markdown)
    parts[::2] = [_LINK.sub(lambda match: _resolve(match, source, place), part) for part in parts[::2]]
    return "".join(parts)


def _resolve(match: re.Match[str], source: str, place: str) -> str:
    image, text, link = match.groups()
    path, _, anchor = link.partition("#")
    if not path or "://" in path or path.startswith("mailto:"):
        return match[0]
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    if not (ROOT / target).exists():
        _log.warning("%s: %s does not exist", source, link)
        return match[0]
    shown = PAGES.get(target) or (target.removeprefix("docs/") if target.startswith("docs/") else "")
    if not shown:
        return text
    relative = posixpath.relpath(shown, posixpath.dirname(place) or ".")
    return f"{image}[{text}]({relative}{'#' + anchor if anchor else ''})"


def build_sdk_page() -> str:
    """Return the page about what `sandbox_client` exports."""
    names = [name for name in _read_exports("sandbox_client/__init__.py") if name not in SYNCHRONOUS]
    names.remove("AsyncSandbox")
    parts = ["AsyncSandbox", "files.AsyncFiles", "workspace.AsyncWorkspace", "contexts.AsyncContexts", *names]
    return (
        "# SDK\n\n`Sandbox` has the methods of `AsyncSandbox` without `await`, and `sandbox.files`, `.processes`,"
        " `.workspace` and `.contexts` likewise. Import every name from `sandbox_client`.\n\n" + _directives(parts)
    )


def build_tools_page() -> str:
    """Return the page about what `sandbox_client.tools` exports."""
    names = _read_exports("sandbox_client/tools/__init__.py")
    introduction = "# Tools\n\nThe tools for language models: [what each returns](../requirements.md).\n\n"
    return introduction + _directives([f"tools.{name}" for name in names])


def build_style() -> str:
    """Return the style sheet of code, for light and dark pages."""
    light = HtmlFormatter(style="default").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs("[data-bs-theme=dark] .highlight")
    return f"{light}\n{dark}\n"


def _directives(names: list[str]) -> str:
    return "".join(f"::: sandbox_client.{name}\n\n" for name in dict.fromkeys(names))


def _read_exports(path: str) -> list[str]:
    for node in ast.parse((ROOT / path).read_text()).body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=ast.List() as value):
                return list(ast.literal_eval(value))
    raise ValueError(f"{path} has no list __all__")
