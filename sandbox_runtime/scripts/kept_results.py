"""Keeps the pictures that a Python file shows, and prints its displays as text, in order with its output."""

from __future__ import annotations

import builtins
import functools
import os
import sys
from typing import TYPE_CHECKING, Any, Final

from sandbox_runtime.python.import_hooks import after_import

if TYPE_CHECKING:
    from types import ModuleType

_PICTURES: Final = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/svg+xml": "svg",
    "image/gif": "gif",
    "image/webp": "webp",
    "application/pdf": "pdf",
}
_TEXTS: Final = ("text/markdown", "text/latex", "application/json")


class KeptResults:
    """The results of one file, in a folder of its own that is created with the first.

    Args:
        run_id: Random id of the run, chosen by the client.
    """

    def __init__(self, run_id: str) -> None:
        self._folder = _folder(run_id)
        self._count = 0
        # A child that was forked shows figures of its own at most, never those of its parent again.
        self._pid = os.getpid()

    def install(self) -> None:
        """Make `display` a builtin, and show the figures of matplotlib and plotly here."""
        builtins.display = self.display  # type: ignore[attr-defined]
        after_import("matplotlib.font_manager", _add_fallback_fonts)
        after_import("matplotlib.pyplot", self._patch_pyplot)
        after_import("matplotlib.figure", _mark_saved_figures)
        after_import("plotly.io", self._patch_plotly)
        after_import("IPython.core.display_functions", self._patch_ipython)

    def display(self, *values: Any, raw: bool = False, **_options: Any) -> None:
        """Print values as text, and keep those that are pictures or pages."""
        from sandbox_runtime.python.output.mime_bundles import build_bundle, encode_bundle  # noqa: PLC0415 - if needed

        for value in values:
            self._show(encode_bundle(value) if raw and isinstance(value, dict) else build_bundle(value))

    def show_figures(self, *, all_of_them: bool = False) -> None:
        """Keep and close the open figures.

        Args:
            all_of_them: Also those that the file has saved itself.
        """
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is None or not hasattr(pyplot, "get_fignums") or os.getpid() != self._pid:
            return
        for number in pyplot.get_fignums():
            figure = pyplot.figure(number)
            if all_of_them or not getattr(figure, "_sandbox_is_saved", False):
                self.display(figure)
            pyplot.close(figure)

    def _show(self, bundle: dict[str, bytes]) -> None:
        text = bundle.get("text/plain", b"").decode(errors="replace")
        is_description = text.startswith("<") and text.endswith(">")
        for mime, suffix in _PICTURES.items():
            if mime in bundle:
                self._keep(bundle[mime], suffix)
                return
        if is_description:
            for mime in _TEXTS:
                if mime in bundle:
                    text = bundle[mime].decode(errors="replace")
                    break
            else:
                if "text/html" in bundle:
                    self._show_page(bundle["text/html"])
                    return
        if text:
            print(text)  # noqa: T201 - the file's output

    def _show_page(self, page: bytes) -> None:
        from sandbox_runtime.scripts.page_text import page_text  # noqa: PLC0415 - few files show pages

        text = page_text(page.decode(errors="replace"))
        print(text or f"[text/html, {len(page)} bytes]")  # noqa: T201 - the file's output
        self._keep(page, "html")

    def _keep(self, content: bytes, suffix: str) -> None:
        self._count += 1
        path = os.path.join(self._folder, f"{os.getpid()}-{self._count:04}.{suffix}")  # noqa: PTH118 - as in the launcher
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)  # noqa: PTH103 - same
            with open(path, "wb") as file:  # noqa: PTH123 - same
                file.write(content)
        except OSError as error:
            print(f"a {suffix} result was not kept: {error.strerror}", file=sys.stderr)  # noqa: T201 - never silently

    def _patch_pyplot(self, pyplot: ModuleType) -> None:
        # Not a method: matplotlib sets the signature of this function.
        def show(*_arguments: Any, **_options: Any) -> None:
            self.show_figures(all_of_them=True)

        pyplot.show = show  # type: ignore[attr-defined]

    def _patch_plotly(self, module: ModuleType) -> None:
        # `figure.show()` calls this. plotly's own function would look for a browser.
        def show(figure: Any, *_arguments: Any, **_options: Any) -> None:
            self.display(figure)

        module.show = show  # type: ignore[attr-defined]

    def _patch_ipython(self, module: ModuleType) -> None:
        module.display = self.display  # type: ignore[attr-defined]


def print_results(run_id: str, *, has_content: bool) -> None:
    """Print a line of JSON for each kept result, in order, and delete them.

    Args:
        run_id: Id of the run.
        has_content: Whether the lines have the content, in base64, and not only the suffix.
    """
    import base64  # noqa: PLC0415 - a file that shows nothing starts without these
    import json  # noqa: PLC0415 - same
    import shutil  # noqa: PLC0415 - same

    folder = _folder(run_id)
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.stat().st_mtime_ns)
    except FileNotFoundError:
        return
    for entry in entries:
        line = {"suffix": entry.name.rpartition(".")[2]}
        if has_content:
            with open(entry.path, "rb") as file:  # noqa: PTH123 - as in the launcher
                line["data"] = base64.b64encode(file.read()).decode()
        print(json.dumps(line))  # noqa: T201 - the client reads it
    shutil.rmtree(folder, ignore_errors=True)


def _add_fallback_fonts(module: ModuleType) -> None:
    from sandbox_runtime.python.output.fonts import add_fallback_fonts  # noqa: PLC0415 - few files draw

    add_fallback_fonts(module)


def _mark_saved_figures(module: ModuleType) -> None:
    """Mark each figure that the file saves, so that its end does not show the figure again."""
    figure_class: Any = module.Figure
    save = figure_class.savefig

    # matplotlib checks the name of the method.
    @functools.wraps(save)
    def savefig(figure: Any, *arguments: Any, **options: Any) -> Any:
        saved = save(figure, *arguments, **options)
        figure._sandbox_is_saved = True  # noqa: SLF001 - our own mark
        return saved

    figure_class.savefig = savefig


def _folder(run_id: str) -> str:
    name = "".join(character for character in run_id if character.isalnum())
    return os.path.join(os.environ.get("TMPDIR") or "/tmp", f"sandbox-results-{name}")  # noqa: PTH118, S108 - same for both runs
