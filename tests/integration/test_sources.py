"""`inspect.getsource` finds what cells define: functions and classes, plain, nested, decorated and defined again."""

import pytest

from sandbox_client import Sandbox

FIRST = '''
import dataclasses, enum, functools, inspect, typing

class Plain:
    """Doc."""
    def method(self):
        return 1

    class Nested:
        x = 1

@dataclasses.dataclass(frozen=True)
class Point:
    x: int = 0

def outer():
    class Local:
        y = 2
    def inner(): return 3
    return Local, inner

class Colour(enum.Enum):
    RED = 1

class Generic(typing.Generic[typing.TypeVar("T")]):
    z = 1

@functools.lru_cache
def cached(): return 4
Pair = typing.NamedTuple("Pair", [("a", int)])
'''


@pytest.fixture
def source(tmp_path):
    with Sandbox.local(tmp_path) as sandbox:
        assert sandbox.run_code(FIRST).error is None

        def source(expression, before="", after=""):
            execution = sandbox.run_code(f"{before}\nprint(inspect.getsource({expression}), end='')\n{after}")
            assert execution.error is None, execution.error
            return execution.stdout

        yield source


def test_sources_of_an_earlier_cell_are_found_and_stay_after_a_redefinition(source):
    assert source("Plain").startswith('class Plain:\n    """Doc."""\n')
    assert source("Plain").endswith("    class Nested:\n        x = 1\n")
    assert source("Plain.method") == "    def method(self):\n        return 1\n"
    assert source("Plain.Nested") == "    class Nested:\n        x = 1\n"
    assert source("Point") == "@dataclasses.dataclass(frozen=True)\nclass Point:\n    x: int = 0\n"
    assert source("outer()[0]") == "    class Local:\n        y = 2\n"
    assert source("outer()[1]") == "    def inner(): return 3\n"
    assert source("Colour") == "class Colour(enum.Enum):\n    RED = 1\n"
    assert source("Generic").endswith("    z = 1\n")
    assert source("cached") == "@functools.lru_cache\ndef cached(): return 4\n"
    assert source("type(Colour.RED)") == "class Colour(enum.Enum):\n    RED = 1\n"
    assert source("Own", before="class Own:\n    here = 1") == "class Own:\n    here = 1\n"
    source("Plain", before="class Plain:\n    again = 1")
    assert source("Plain") == "class Plain:\n    again = 1\n"
    assert source("Point", before="Kept = Point\n@dataclasses.dataclass\nclass Point:\n    x: int\n    y: int") == (
        "@dataclasses.dataclass\nclass Point:\n    x: int\n    y: int\n"
    )
    # Methods know their own code; a class itself is found by its name.
    assert source("Kept.__eq__", before="Kept.__eq__ = outer").startswith("def outer")


def test_a_class_without_a_source_has_none(tmp_path):
    with Sandbox.local(tmp_path) as sandbox:
        execution = sandbox.run_code("import inspect\nMade = type('Made', (), {})\ninspect.getsource(Made)")
        assert execution.error.name in ("OSError", "TypeError")
