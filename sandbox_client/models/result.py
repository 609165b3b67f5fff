"""One thing that a cell showed: a MIME bundle. Pure: no I/O."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sandbox_client.models.readable import short
from sandbox_client.models.sizes import format_size
from sandbox_client.models.text.forms import PICTURES, text_form

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, repr=False)
class Result:
    """Something to show: the value of a cell's last expression, or the argument of a display call.

    Attributes:
        data: Content by MIME type: UTF-8 text, or the bytes of an image.
        is_main: Whether this is the value of the last expression.
        display_id: Id of the display that this shows or updates, or "".
        is_update: Whether this replaces what the display showed before.
    """

    data: Mapping[str, bytes]
    is_main: bool = False
    display_id: str = ""
    is_update: bool = False

    @property
    def text(self) -> str | None:
        """The `text/plain` form, or None."""
        return self._text("text/plain")

    @property
    def html(self) -> str | None:
        """The `text/html` form, or None."""
        return self._text("text/html")

    @property
    def markdown(self) -> str | None:
        """The `text/markdown` form, or None."""
        return self._text("text/markdown")

    @property
    def latex(self) -> str | None:
        """The `text/latex` form, or None."""
        return self._text("text/latex")

    @property
    def svg(self) -> str | None:
        """The `image/svg+xml` form, or None."""
        return self._text("image/svg+xml")

    @property
    def javascript(self) -> str | None:
        """The `application/javascript` form, or None."""
        return self._text("application/javascript")

    @property
    def png(self) -> bytes | None:
        """The `image/png` form, or None."""
        return self.data.get("image/png")

    @property
    def jpeg(self) -> bytes | None:
        """The `image/jpeg` form, or None."""
        return self.data.get("image/jpeg")

    @property
    def gif(self) -> bytes | None:
        """The `image/gif` form, or None."""
        return self.data.get("image/gif")

    @property
    def webp(self) -> bytes | None:
        """The `image/webp` form, or None."""
        return self.data.get("image/webp")

    @property
    def pdf(self) -> bytes | None:
        """The `application/pdf` form, or None."""
        return self.data.get("application/pdf")

    @property
    def json(self) -> Any:
        """The value of the `application/json` form, or None."""
        return self._json("application/json")

    @property
    def plotly(self) -> dict[str, Any] | None:
        """A plotly figure as data, or None if this is not one."""
        return self._object("application/vnd.plotly.v1+json")

    @property
    def table(self) -> dict[str, Any] | None:
        """A DataFrame as data, or None if this is not a DataFrame.

        It has `schema`, `data` (rows), `rows` (of the whole DataFrame) and `truncated`; see docs/results.md.
        """
        return self._object("application/vnd.dataresource+json")

    @property
    def chart(self) -> dict[str, Any] | None:
        """A matplotlib figure as data (see docs/results.md), or None if this is not a figure."""
        return self._object("application/vnd.sandbox.chart+json")

    def _text(self, mime: str) -> str | None:
        content = self.data.get(mime)
        return None if content is None else content.decode(errors="replace")

    def _object(self, mime: str) -> dict[str, Any] | None:
        value = self._json(mime)
        return value if isinstance(value, dict) else None

    def _json(self, mime: str) -> Any:
        try:
            return json.loads(self.data.get(mime, b"null"))
        except ValueError:
            return None

    def figure(self) -> tuple[str, bytes] | None:
        """Return file suffix and content of the picture, or None if this is not a picture."""
        for mime, suffix in PICTURES.items():
            if mime in self.data:
                return suffix, self.data[mime]
        return None

    def to_bundle(self) -> dict[str, Any]:
        """Return all content in Jupyter's form of a MIME bundle: text, base64 for pictures, values for JSON."""
        from sandbox_client.models.notebook import to_bundle  # noqa: PLC0415 - slow to import

        return to_bundle(self.data)

    def __str__(self) -> str:
        return text_form(self.data)

    def __repr__(self) -> str:
        forms = (
            f"{mime} {short(self.text) if mime == 'text/plain' else format_size(len(content))}"
            for mime, content in self.data.items()
        )
        return f"Result({', '.join(forms)})"

    def _repr_mimebundle_(self, **_options: object) -> dict[str, Any]:
        from sandbox_client.models.notebook import display_bundle  # noqa: PLC0415 - slow to import

        return display_bundle(self.data)
