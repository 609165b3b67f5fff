"""Describes a matplotlib figure as data. docs/results.md has the format.

It recognises lines, scatter plots, bars and histograms, pies, box plots, and axes nested in axes. Numbers are those of
the user's code, dates are ISO 8601, NaN and infinity are null. The artists of a box plot do not keep its statistics, so
`record_boxes` records them when the plot is drawn.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import math
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

CHART_MIME: Final = "application/vnd.sandbox.chart+json"
VERSION: Final = 1
MAX_POINTS: Final = 2_000
"""Largest number of points in a series. A longer one is thinned evenly, and `total` is its original length."""
_MAX_SERIES: Final = 100
_MAX_BYTES: Final = 1 << 20
_MAX_DEPTH: Final = 4
_STATISTICS: Final = {"minimum": "whislo", "q1": "q1", "median": "med", "q3": "q3", "maximum": "whishi"}


def describe_figure(figure: Any) -> str | None:
    """Return the figure's data as JSON. Returns None if it has no known series, or if the data is too large."""
    axes = [described for each in figure.axes if (described := _describe_axes(each, 0)) is not None]
    if not axes:
        return None
    title = figure.get_suptitle() if hasattr(figure, "get_suptitle") else ""
    text = json.dumps({"version": VERSION, "title": title, "axes": axes})
    return text if len(text) <= _MAX_BYTES else None


def record_boxes(module: ModuleType) -> None:
    """Make `matplotlib.axes.Axes` record the statistics of its box plots."""
    original = module.Axes.bxp
    if original.__module__ == __name__:
        return

    @functools.wraps(original, assigned=("__doc__", "__name__", "__qualname__"))
    def bxp(self: Any, bxpstats: Any, *arguments: Any, **options: Any) -> Any:
        artists = original(self, bxpstats, *arguments, **options)
        recorded = [*getattr(self, "_sandbox_boxes", ()), (list(bxpstats), artists)]
        self._sandbox_boxes = recorded
        return artists

    module.Axes.bxp = bxp


def _describe_axes(axes: Any, depth: int) -> dict[str, Any] | None:
    boxes, box_artists = _boxes(axes)
    series = [
        *_lines(axes, box_artists),
        *_scatters(axes),
        *(_bars(axes, container) for container in axes.containers if hasattr(container, "patches")),
        *_pies(axes),
        *boxes,
    ]
    nested = [_describe_axes(child, depth + 1) for child in getattr(axes, "child_axes", ()) if depth < _MAX_DEPTH]
    nested = [child for child in nested if child is not None]
    if not series and not nested:
        return None
    more = {"total": len(series)} if len(series) > _MAX_SERIES else {}
    return {
        "title": axes.get_title(),
        "projection": str(getattr(axes, "name", "rectilinear")),
        "x": _describe_axis(axes.xaxis, axes.get_xlim()),
        "y": _describe_axis(axes.yaxis, axes.get_ylim()),
        "series": series[:_MAX_SERIES],
        "axes": nested,
        **more,
    }


def _describe_axis(axis: Any, limits: tuple[float, float]) -> dict[str, Any]:
    return {
        "label": axis.get_label_text(),
        "scale": axis.get_scale(),
        "limits": [_from_axis(axis, limit) for limit in limits],
        "categories": list(_categories(axis).values()) or None,
    }


def _lines(axes: Any, excluded: set[int]) -> Iterable[dict[str, Any]]:
    skipped = set(excluded)
    for container in axes.containers:
        # The caps of error bars are lines too.
        for part in container[1:] if type(container).__name__ == "ErrorbarContainer" else ():
            skipped.update(id(artist) for artist in part or ())
    for line in axes.lines:
        in_data = all(line.get_transform().contains_branch_seperately(axes.transData))
        if id(line) in skipped or not in_data:
            continue
        has_line = line.get_linestyle() not in ("None", "", " ")
        yield _points("line" if has_line else "scatter", line, line.get_xdata(orig=True), line.get_ydata(orig=True))


def _scatters(axes: Any) -> Iterable[dict[str, Any]]:
    for collection in axes.collections:
        if type(collection).__name__ == "PathCollection":
            points = collection.get_offsets()
            xs = [_from_axis(axes.xaxis, point[0]) for point in points]
            ys = [_from_axis(axes.yaxis, point[1]) for point in points]
            yield _points("scatter", collection, xs, ys)


def _points(kind: str, artist: Any, xs: Any, ys: Any) -> dict[str, Any]:
    xs, ys = list(xs), list(ys)
    total = len(xs)
    step = max(1, math.ceil(total / MAX_POINTS))
    described = {
        "kind": kind,
        "label": _label(artist),
        "x": [_value(x) for x in xs[::step]],
        "y": [_value(y) for y in ys[::step]],
    }
    return {**described, "total": total} if step > 1 else described


def _bars(axes: Any, container: Any) -> dict[str, Any]:
    horizontal = container.orientation == "horizontal"
    axis = axes.yaxis if horizontal else axes.xaxis
    names = _categories(axis)
    bars = []
    for patch in list(container.patches)[:MAX_POINTS]:
        start, size = (patch.get_y(), patch.get_height()) if horizontal else (patch.get_x(), patch.get_width())
        base, value = (patch.get_x(), patch.get_width()) if horizontal else (patch.get_y(), patch.get_height())
        middle = start + size / 2
        bar = {
            "position": _from_axis(axis, middle),
            "width": _value(size),
            "value": _value(value),
            "base": _value(base),
        }
        # The bars of a group are beside their category's tick.
        name = names.get(round(float(middle)))
        bars.append({"category": name, **bar} if name is not None else bar)
    return {
        "kind": "bar",
        "label": _label(container),
        "orientation": "horizontal" if horizontal else "vertical",
        "bars": bars,
        **({"total": len(container.patches)} if len(container.patches) > MAX_POINTS else {}),
    }


def _pies(axes: Any) -> Iterable[dict[str, Any]]:
    wedges = [patch for patch in axes.patches if type(patch).__name__ == "Wedge"]
    if wedges:
        slices = [{"label": _label(wedge), "fraction": _round((wedge.theta2 - wedge.theta1) / 360)} for wedge in wedges]
        yield {"kind": "pie", "label": "", "slices": slices}


def _boxes(axes: Any) -> tuple[list[dict[str, Any]], set[int]]:
    series: list[dict[str, Any]] = []
    artists_seen: set[int] = set()
    for statistics, artists in getattr(axes, "_sandbox_boxes", ()):
        artists_seen.update(id(artist) for group in artists.values() for artist in group)
        # A box that was cleared or removed has no axes.
        drawn = [
            (stats, line) for stats, line in zip(statistics, artists["medians"], strict=False) if line.axes is axes
        ]
        if drawn:
            first = drawn[0][1]
            horizontal = len(set(map(float, first.get_xdata()))) == 1
            axis = axes.yaxis if horizontal else axes.xaxis
            described = [_box(axis, stats, line, horizontal=horizontal) for stats, line in drawn]
            orientation = "horizontal" if horizontal else "vertical"
            series.append({"kind": "box", "label": "", "orientation": orientation, "boxes": described})
    return series, artists_seen


def _box(axis: Any, statistics: Any, median: Any, *, horizontal: bool) -> dict[str, Any]:
    along = [float(each) for each in (median.get_ydata() if horizontal else median.get_xdata())]
    position = sum(along) / len(along)
    outliers = [_value(each) for each in list(statistics.get("fliers", ()))[:MAX_POINTS]]
    label = _categories(axis).get(round(position)) or statistics.get("label") or ""
    numbers = {name: _value(statistics[key]) for name, key in _STATISTICS.items()}
    return {"label": str(label), "position": _value(position), **numbers, "outliers": outliers}


def _categories(axis: Any) -> dict[int, str]:
    """Return the names at whole positions of an axis, from strings given as data or as tick labels."""
    mapping = getattr(axis.units, "_mapping", None)
    if mapping is not None:
        return {int(position): str(name) for name, position in mapping.items()}
    locator, formatter = axis.get_major_locator(), axis.get_major_formatter()
    if type(locator).__name__ != "FixedLocator" or type(formatter).__name__ == "ScalarFormatter":
        return {}
    ticks = [float(tick) for tick in locator()]
    labels = [str(formatter(tick, index)) for index, tick in enumerate(ticks)]
    return {int(tick): label for tick, label in zip(ticks, labels, strict=True) if tick.is_integer() and label}


def _from_axis(axis: Any, number: Any) -> Any:
    """Convert a position on an axis to data: to a date if the axis shows dates."""
    converter = axis.get_converter() if hasattr(axis, "get_converter") else getattr(axis, "converter", None)
    dates = sys.modules.get("matplotlib.dates")
    if dates is not None and "Date" in type(converter).__name__:
        return _value(dates.num2date(number))
    return _value(number)


def _label(artist: Any) -> str:
    label = str(artist.get_label() or "")
    return "" if label.startswith("_") else label


def _round(number: float) -> float:
    # matplotlib stores angles in single precision.
    return round(float(number), 6)


def _value(value: Any) -> Any:
    if isinstance(value, str | int | None):
        return value
    kind = type(value).__name__
    # float() of a masked value would warn.
    if kind == "MaskedConstant":
        return None
    if isinstance(value, dt.date) or hasattr(value, "isoformat"):
        return str(value.isoformat())
    return str(value) if kind == "datetime64" else _number(value, kind)


def _number(value: Any, kind: str) -> Any:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    if not math.isfinite(number):
        return None
    return int(number) if "int" in kind else number
