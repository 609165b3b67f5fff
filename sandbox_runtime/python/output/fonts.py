"""Fonts for characters that matplotlib's own font lacks: Chinese, Japanese and Korean.

matplotlib takes a missing character from the next font in a list. Code, styles and seaborn replace that list, so the
machine's fonts for these scripts are added where matplotlib looks the list up.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import re
import sys
import warnings
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_FAMILIES: Final = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Droid Sans Fallback",
    "PingFang SC",
    "Hiragino Sans GB",
    "Arial Unicode MS",
    "Microsoft YaHei",
    "SimHei",
    "IPAexGothic",
    "IPAGothic",
    "NanumGothic",
    "UnDotum",
    "Unifont",
)
"""Font families in the order in which they are tried. The first ones have all three languages."""
_MAX_FONTS: Final = 3
_REGULAR: Final = ("400", "normal", "regular", "book")
_MISSING_GLYPH: Final = re.compile(r"Glyph (\d+) .* missing from (?:current )?font")


def add_fallback_fonts(font_manager: Any) -> None:
    """Let `matplotlib.font_manager` add the machine's fonts for these scripts to every list of fonts."""
    manager = font_manager.FontManager
    find = getattr(manager, "_find_fonts_by_props", None)
    # Before version 3.6 there are no lists.
    if find is None or find.__module__ == __name__:
        return

    @functools.wraps(find, assigned=("__doc__", "__name__", "__qualname__"))
    def find_fonts(self: Any, prop: Any, fontext: str = "ttf", *arguments: Any, **options: Any) -> Any:
        found = find(self, prop, fontext, *arguments, **options)
        return found if fontext != "ttf" else [*found, *_fallbacks(self, found)]

    manager._find_fonts_by_props = find_fonts  # noqa: SLF001 - the only place that all backends use
    logging.getLogger(font_manager.__name__).addFilter(_Once())


class _Once(logging.Filter):
    """Lets each message about a font through once. matplotlib writes it for each text, some 80 times a picture."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return False for a message that was there before."""
        text = record.getMessage()
        if not text.startswith("findfont:"):
            return True
        is_new = text not in self._seen
        self._seen.add(text)
        return is_new


def _fallbacks(manager: Any, found: Any) -> list[Any]:
    known = getattr(manager, "_sandbox_fallbacks", None)
    if known is None or known[0] != len(manager.ttflist):
        # The regular face comes first, others replace none.
        paths: dict[str, Any] = {}
        for entry in sorted(manager.ttflist, key=lambda entry: str(entry.weight) not in _REGULAR):
            if entry.name in _FAMILIES:
                paths.setdefault(entry.name, entry.fname)
        known = len(manager.ttflist), [paths[name] for name in _FAMILIES if name in paths][:_MAX_FONTS]
        manager._sandbox_fallbacks = known  # noqa: SLF001 - our own attribute
    return [path for path in known[1] if path not in found]


@contextlib.contextmanager
def one_note_for_missing_characters() -> Iterator[None]:
    """Replace matplotlib's warnings about missing characters, one for each, by one note that says what to do."""
    with warnings.catch_warnings(record=True) as caught:
        yield
    missing: dict[str, None] = {}
    for warning in caught:
        match = _MISSING_GLYPH.match(str(warning.message))
        if match:
            missing[chr(int(match[1]))] = None
        else:
            warnings.showwarning(warning.message, warning.category, warning.filename, warning.lineno)
    if missing:
        sys.stderr.write(
            f"The picture shows boxes instead of {''.join(missing)}: no font that it uses has these characters. Add a "
            "font to the machine or image (for Chinese, Japanese and Korean: Debian's fonts-wqy-microhei), or upload "
            "one, and use matplotlib.font_manager.fontManager.addfont(path) and rcParams['font.family'].\n"
        )
