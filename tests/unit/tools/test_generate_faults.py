"""Tests how docs/faults.md is generated: numbers, sentences, order, and failures."""

import pytest

from tools import generate_faults
from tools.generate_faults import FAULTS, FaultTest, build_page, read_tests

ALL = [number for faults in FAULTS.values() for number in faults]


def one_each(*more):
    return [*((number, FaultTest(0, "tests/unit/a.py", number, f"Holds {number}.")) for number in ALL), *more]


@pytest.fixture
def write(monkeypatch, tmp_path):
    """Writes a test module and reads its fault tests."""
    monkeypatch.setattr(generate_faults, "ROOT", tmp_path)

    def make(text):
        path = tmp_path / "tests/e2e/test_some.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return list(read_tests(path))

    return make


def test_a_test_is_read_with_its_number_level_line_and_sentence(write):
    text = 'def test_other():\n    """No."""\n\n\nasync def test_fault_7_a_thing():\n    """It holds."""\n'
    assert write(text) == [(7, FaultTest(2, "tests/e2e/test_some.py", 5, "It holds."))]


def test_a_test_of_two_faults_counts_for_both(write):
    text = 'def test_fault_19_and_20_a_thing():\n    """It holds."""\n'
    assert [number for number, _ in write(text)] == [19, 20]


@pytest.mark.parametrize("body", ["pass", '"""Two\n    lines."""'])
def test_a_test_without_one_sentence_is_refused_by_name(write, body):
    with pytest.raises(ValueError, match=r"tests/e2e/test_some.py: test_fault_7_a_thing needs a docstring"):
        write(f"def test_fault_7_a_thing():\n    {body}\n")


def test_the_page_has_every_fault_with_its_tests_by_level_file_and_line():
    page = build_page(
        one_each(
            (1, FaultTest(2, "tests/e2e/test_b.py", 1, "Last.")),
            (1, FaultTest(1, "tests/integration/c.py", 9, "Second.")),
        )
    )
    first = page.partition("| 1. ")[2].partition("\n")[0]
    assert first == (
        f"{FAULTS['Operator'][1]} | Holds 1. Second. Last. |"
        " [a](../tests/unit/a.py), [c](../tests/integration/c.py), [b](../tests/e2e/test_b.py) |"
    )
    assert [line.partition(". ")[0] for line in page.splitlines() if ". " in line and line.startswith("| ")] == [
        f"| {number}" for number in ALL
    ]


def test_a_module_and_a_sentence_are_named_once_per_fault():
    again = FaultTest(0, "tests/unit/a.py", 99, "Holds 1.")
    assert build_page(one_each((1, again))) == build_page(one_each())


def test_a_fault_without_a_test_or_without_a_title_is_refused():
    with pytest.raises(ValueError, match=r"\[99\]"):
        build_page(one_each((99, FaultTest(0, "tests/unit/a.py", 1, "It holds."))))
    with pytest.raises(ValueError, match=r"\[1\]"):
        build_page(one_each()[1:])


def test_the_check_fails_on_a_stale_page_and_writes_nothing(monkeypatch, capsys, tmp_path):
    target = tmp_path / "faults.md"
    monkeypatch.setattr(generate_faults, "TARGET", target)
    assert generate_faults.main() == 0
    assert generate_faults.main("--check") == 0
    target.write_text(target.read_text() + "- By hand.\n")
    assert generate_faults.main("--check") == 1
    assert "make faults" in capsys.readouterr().out
    assert target.read_text().endswith("- By hand.\n")
