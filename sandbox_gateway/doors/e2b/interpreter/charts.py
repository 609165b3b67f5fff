"""Charts in E2B's form, made from ours (docs/results.md). Pure: no I/O."""

from __future__ import annotations

from typing import Any, Final

_KINDS: Final = {"line": "line", "scatter": "scatter", "bar": "bar", "pie": "pie", "box": "box_and_whisker"}
_SCALES: Final = frozenset({
    "linear", "datetime", "categorical", "log", "symlog", "logit", "function", "functionlog", "asinh",
})  # fmt: skip


def to_e2b_chart(figure: dict[str, Any]) -> dict[str, Any] | None:
    """Return a figure's chart, or None if it shows nothing that E2B's form has.

    Several axes become a `superchart` of one chart each.
    """
    axes = [chart for each in figure.get("axes") or [] if (chart := _axes(each)) is not None]
    if len(axes) == 1:
        return axes[0]
    return {"type": "superchart", "title": figure.get("title") or "", "elements": axes} if axes else None


def _axes(axes: dict[str, Any]) -> dict[str, Any] | None:
    series = axes.get("series") or []
    kind = next((_KINDS[each["kind"]] for each in series if each.get("kind") in _KINDS), None)
    if kind is None:
        return None
    same = [each for each in series if _KINDS.get(each.get("kind", "")) == kind]
    chart: dict[str, Any] = {"type": kind, "title": axes.get("title") or ""}
    if kind == "pie":
        slices = [piece for each in same for piece in each["slices"]]
        elements = [{"label": each["label"], "angle": each["fraction"] * 360, "radius": 1} for each in slices]
        return {**chart, "elements": elements}
    x, y = axes.get("x") or {}, axes.get("y") or {}
    chart |= {"x_label": x.get("label") or None, "y_label": y.get("label") or None, "x_unit": None, "y_unit": None}
    if kind in {"line", "scatter"}:
        points = [{"label": each.get("label") or "", "points": _points(each)} for each in same]
        return {**chart, **_ticks(x, "x"), **_ticks(y, "y"), "elements": points}
    if kind == "bar":
        return {**chart, "elements": [bar for each in same for bar in _bars(each)]}
    return {**chart, "elements": [_box(each) for group in same for each in group["boxes"]]}


def _points(series: dict[str, Any]) -> list[list[Any]]:
    return [[x, y] for x, y in zip(series["x"], series["y"], strict=False)]


def _ticks(axis: dict[str, Any], name: str) -> dict[str, Any]:
    categories = axis.get("categories")
    scale = "categorical" if categories else axis.get("scale", "linear")
    ticks = (
        list(range(len(categories))) if categories else [each for each in axis.get("limits") or [] if each is not None]
    )
    return {
        f"{name}_scale": scale if scale in _SCALES else "unknown",
        f"{name}_ticks": ticks,
        f"{name}_tick_labels": categories or [str(each) for each in ticks],
    }


def _bars(series: dict[str, Any]) -> list[dict[str, Any]]:
    group = series.get("label") or ""
    return [
        {"label": str(bar.get("category", bar.get("position"))), "group": group, "value": bar["value"]}
        for bar in series["bars"]
    ]


def _box(box: dict[str, Any]) -> dict[str, Any]:
    return {
        "label": str(box["label"]),
        "min": box["minimum"],
        "first_quartile": box["q1"],
        "median": box["median"],
        "third_quartile": box["q3"],
        "max": box["maximum"],
        "outliers": box.get("outliers") or [],
    }
