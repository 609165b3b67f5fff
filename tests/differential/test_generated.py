"""Generated values look the same on both sides: nested, long, unusual, formatted, printed and raised."""

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from tests.differential.sides import describe

STEADY = settings(
    derandomize=True, deadline=None, max_examples=150, print_blob=False, suppress_health_check=list(HealthCheck)
)
TEXTS = st.text(max_size=30) | st.text("abc \n\t'\"\\", max_size=60) | st.text("é漢🎉\u200b\x00\x1b", max_size=8)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.complex_numbers() | st.binary(max_size=20) | TEXTS
)
NAMES = st.sampled_from(["int", "str", "len", "ValueError", "print", "object", "collections.OrderedDict", "range(3)"])
KEYS = st.integers(-99, 99).map(repr) | st.text("abcdefgh", max_size=8).map(repr)


def _join(begin, end):
    return lambda items: begin + ", ".join(items) + end


def _grow(items):
    lists = st.lists(items, max_size=12)
    pairs = st.lists(st.tuples(KEYS, items), max_size=10).map(lambda pairs: [f"{key}: {value}" for key, value in pairs])
    keys = st.lists(KEYS, min_size=1, max_size=12)
    return st.one_of(
        lists.map(_join("[", "]")),
        lists.map(lambda items: f"({''.join(f'{item}, ' for item in items)})"),
        pairs.map(_join("{", "}")),
        keys.map(_join("{", "}")),
        keys.map(_join("frozenset([", "])")),
        pairs.map(_join("collections.OrderedDict({", "})")),
        pairs.map(_join("collections.defaultdict(list, {", "})")),
        keys.map(_join("collections.Counter([", "])")),
        lists.map(_join("collections.deque([", "])")),
        pairs.map(_join("types.SimpleNamespace(**{str(k): v for k, v in {", "}.items()})")),
        lists.map(_join("Own([", "])")),
    )


VALUES = st.recursive(SCALARS.map(repr) | NAMES, _grow, max_leaves=40)
SPECIFICATIONS = st.builds(
    "{}{}{}{}{}{}".format,
    st.sampled_from(["", "<", ">", "^", "*^", "="]),
    st.sampled_from(["", "+", " "]),
    st.sampled_from(["", "#", "0"]),
    st.sampled_from(["", "3", "12"]),
    st.sampled_from(["", ",", "_", ".0", ".3"]),
    st.sampled_from(["", "d", "x", "b", "e", "f", "g", "%", "s", "n"]),
)


def _is_not_indented(text):
    # A session removes the indentation of the first line, a notebook the one that all lines have.
    return text.strip() and not text.lstrip("\n").startswith(" ")


@pytest.fixture(scope="module")
def prepared(sides):
    sides.run("import collections, types\nfrom math import inf, nan\nnanj = infj = 0j\nclass Own(list): pass")
    return sides


def check(sides, code):
    pair = sides.run(code)
    assert not pair.differences, describe(code, pair)


@given(VALUES)
@STEADY
def test_values(prepared, value):
    check(prepared, value)


@given(VALUES)
@STEADY
def test_printed_and_displayed_values(prepared, value):
    check(prepared, f"x = {value}\nprint(type(x))\ndisplay(x)\n[x, x]")


@given(st.integers() | st.floats() | TEXTS, SPECIFICATIONS)
@STEADY
def test_formatted_values(prepared, value, specification):
    check(prepared, f"format({value!r}, {specification!r})")


@given(TEXTS, TEXTS)
@STEADY
def test_texts_on_both_streams(prepared, out, error):
    check(prepared, f"import sys\nprint({out!r})\nprint({error!r}, file=sys.stderr)\n{out!r}")


@given(
    st.sampled_from(["ValueError", "KeyError", "OSError", "RuntimeError", "StopIteration"]), st.lists(TEXTS, max_size=3)
)
@STEADY
def test_errors(prepared, kind, arguments):
    check(prepared, f"raise {kind}(*{arguments!r})")


@given(st.text("()[]{}'\"=:,;.#\\ \nab1+-*/%?@", min_size=1, max_size=14).filter(_is_not_indented))
@STEADY
def test_arbitrary_sources(prepared, source):
    pair = prepared.run(source)
    left, right = pair.notebook, pair.session
    # A notebook says "incomplete input" where Python says what is missing.
    assert (left.parts, (left.error or [""])[0]) == (right.parts, (right.error or [""])[0]), describe(source, pair)
