"""The table of docs/threat-model.md and the tests that it names."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/threat-model.md").read_text()
ROW = re.compile(r"^\| (\d+)(?:-(\d+))? \|.*$", re.MULTILINE)
LINK = re.compile(r"\]\(\.\./(tests/[^)]+\.py)\)")
NUMBERS = re.compile(r"def test_attack_((?:\d\d_(?:and_)?)+)")


def test_every_attack_has_one_row():
    rows = [range(int(match[1]), int(match[2] or match[1]) + 1) for match in ROW.finditer(PAGE)]
    assert [number for row in rows for number in row] == list(range(1, 47))


@pytest.mark.parametrize("row", list(ROW.finditer(PAGE)), ids=lambda row: f"row {row[1]}")
def test_each_number_of_a_row_is_in_the_name_of_a_test_that_the_row_links_to(row: re.Match[str]):
    texts = [(ROOT / path).read_text() for path in LINK.findall(row[0])]
    named = {int(number) for text in texts for name in NUMBERS.findall(text) for number in re.findall(r"\d\d", name)}
    assert named >= set(range(int(row[1]), int(row[2] or row[1]) + 1))
