"""Describes a pandas DataFrame or Series as a Tabular Data Resource, the format of notebooks' data explorers.

The object has `schema` (`fields` with name and type, `primaryKey`) and `data` (a list of row objects). We add `rows`,
the length of the whole table, and `truncated`. It has at most 1,000 rows, 100,000 cells and 1 MiB.
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from types import ModuleType

TABLE_MIME: Final = "application/vnd.dataresource+json"
MAX_ROWS: Final = 1_000
_MAX_SHOWN_COLUMNS: Final = 20
_MAX_CELLS: Final = 100_000
_MAX_BYTES: Final = 1 << 20


def show_as_in_a_notebook(pandas: ModuleType) -> None:
    """Let pandas show twenty columns. It takes the sandbox for a terminal, where it fits a table into 80 characters."""
    if pandas.get_option("display.max_columns") == 0:
        pandas.set_option("display.max_columns", _MAX_SHOWN_COLUMNS)


def describe_table(value: Any) -> str | None:
    """Return the table as JSON. Returns None for other values, and if even one row is too large.

    Raises:
        Exception: Anything that pandas raises for values that it cannot write.
    """
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(value, pandas.DataFrame | pandas.Series):
        return None
    frame = value.to_frame() if isinstance(value, pandas.Series) else value
    rows = len(frame)
    count = min(rows, MAX_ROWS, max(1, _MAX_CELLS // max(1, len(frame.columns))))
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            text: str = frame.head(count).to_json(orient="table", default_handler=str)
        if len(text) <= _MAX_BYTES:
            return f'{{"rows": {rows}, "truncated": {json.dumps(count < rows)}, {text[1:]}'
        if count <= 1:
            return None
        count //= 2
