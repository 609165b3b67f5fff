"""The checker of the layout: long modules, large folders, import cycles, and what excuses them."""

import itertools

import pytest

from tools import check_layout
from tools.check_layout import LARGE_FOLDER, LONG_MODULE, MAX_LINES, MAX_MODULES, check_folders, check_lengths

numbers = itertools.count()


def write(folder, **modules):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)


def lines(count, docstring=""):
    return f'"""{docstring}"""\n' + "x = 1\n" * (count - 1)


def test_a_module_may_have_so_many_lines_and_no_more(tmp_path):
    write(tmp_path, just=lines(MAX_LINES))
    assert check_lengths(tmp_path) == []
    write(tmp_path / "below", long=lines(MAX_LINES + 1))
    (error,) = check_lengths(tmp_path)
    assert error.startswith(f"{tmp_path}/below/long.py: {MAX_LINES + 1} lines, at most {MAX_LINES}.")


def test_a_long_module_that_says_why_and_generated_code_are_excused(tmp_path):
    reason = f"One state machine, {LONG_MODULE.replace(' than', chr(10) + 'than')} since its states belong together."
    write(tmp_path, excused=lines(MAX_LINES + 1, reason), file_pb2=lines(5000), file_pb2_grpc=lines(5000))
    assert check_lengths(tmp_path) == []


def test_the_reason_has_to_be_in_the_docstring(tmp_path):
    write(tmp_path, long=lines(MAX_LINES) + f"# This is {LONG_MODULE} since we like it.\n")
    assert len(check_lengths(tmp_path)) == 1


def test_a_folder_may_have_so_many_modules_and_no_more(tmp_path):
    write(tmp_path, __init__="", __main__="", **{f"module{number}": "" for number in range(MAX_MODULES)})
    write(tmp_path / "below", a="", b="")
    assert check_folders(tmp_path) == []
    write(tmp_path, one_more="")
    (error,) = check_folders(tmp_path)
    assert error.startswith(f"{tmp_path}: {MAX_MODULES + 1} modules, at most {MAX_MODULES}.")


def test_a_large_folder_that_says_why_and_generated_code_are_excused(tmp_path):
    modules = {f"module{number}": "" for number in range(MAX_MODULES + 1)}
    write(tmp_path / "excused", __init__=f'"""Commands, {LARGE_FOLDER}: one each."""\n', **modules)
    write(tmp_path / "generated", **{f"{name}_pb2": "" for name in modules})
    assert check_folders(tmp_path) == []


@pytest.mark.parametrize(
    ("imports", "cycle"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, set()),
        ({"a": {"b", "c"}, "b": {"c"}, "c": set()}, set()),
        ({"a": {"b"}, "b": {"a"}}, {"a", "b"}),
        ({"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": {"b"}}, {"b", "c", "d"}),
    ],
)
def test_a_cycle_is_found_and_nothing_else_is(imports, cycle):
    found = check_layout.find_cycle(imports)
    assert set(found) == cycle
    # Each module imports the next one, and the last one is the first.
    assert all(after in imports[before] for before, after in itertools.pairwise(found))
    assert found[:1] == found[-1:]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Makes a package of a name that no other test has."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(**modules):
        name = f"checked_package_{next(numbers)}"
        texts = {module: text.replace("PACKAGE", name) for module, text in modules.items()}
        write(tmp_path / name, __init__="", **texts)
        return name

    return make


TYPE_ONLY = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from PACKAGE.first import First\n"
LATE = "def make():\n    from PACKAGE.first import First\n    return First()\n"


@pytest.mark.parametrize("second", [TYPE_ONLY, LATE, "import PACKAGE.first\n"], ids=["type-only", "late", "plain"])
def test_an_import_for_types_only_or_within_a_function_closes_a_cycle_too(package, second):
    name = package(first="from PACKAGE.second import make\nclass First: ...\n", second=second)
    cycle = check_layout.find_cycle(check_layout.read_imports(name))
    assert set(cycle) == {f"{name}.first", f"{name}.second"}


def test_imports_one_way_are_no_cycle(package):
    name = package(first="class First: ...\n", second=TYPE_ONLY, third="from PACKAGE.second import make\n")
    assert check_layout.find_cycle(check_layout.read_imports(name)) == []


def test_the_program_prints_every_error_and_fails(monkeypatch, capsys, tmp_path, package):
    name = package(a="import PACKAGE.b\n", b="import PACKAGE.a\n", long=lines(MAX_LINES + 1))
    monkeypatch.setattr(check_layout, "ROOT", tmp_path)
    monkeypatch.setattr(check_layout, "PACKAGES", {name: name})
    assert check_layout.main() == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{name}/long.py: {MAX_LINES + 1} lines")
    assert second.startswith("import cycle: ")
    assert second.count(f"{name}.") == 3


def test_every_package_of_the_project_is_checked():
    found = {
        path.parent
        for folder in (".", "operator", "proto")
        for path in (check_layout.ROOT / folder).glob("sandbox_*/__init__.py")
    }
    assert {check_layout.ROOT / folder for folder in check_layout.PACKAGES.values()} == found
