"""A cell compiled in two parts does what it does as a whole."""

from __future__ import annotations

import types

import pytest

from sandbox_runtime.python import cells
from sandbox_runtime.python.cells import MISSING, Namespace, split_last_statement


class PlainShell:
    """A shell without IPython's syntax."""

    interactivity = "last_expr"

    def __init__(self) -> None:
        self.module = types.ModuleType("__main__")

    def translate(self, source):
        return source


CELLS = [
    "1 + 1",
    "x = 1\nx + 1",
    "x = 1\ny = 2",
    "x = 1\nx;",
    "x = 1; y = 2\nx; y",
    "x = [\n  1,\n  2,\n]\nsum(\n  x,\n)",
    "def f():\n    return 7\n\nf()  # the value\n\n# the end",
    "s = '''a\nb\n'''\ns",
    "s = '''a\nlen(s)'''",
    "x = 1 \\\n-1",
    "x = 3 + \\\n4\nx",
    "if False:\n    1\nelse:\n    2",
    "for i in range(3):\n    i\ni",
    "@str\ndef f(): pass\nf[:9]",
    "from __future__ import annotations\ndef f(x: nowhere): pass\nf.__annotations__",
    "x = 1\nfrom __future__ import annotations; x",
    "async def f():\n    return 5\nawait f()",
    "try:\n    1 / 0\nexcept ZeroDivisionError:\n    x = 'caught'\nx",
    "x = (1,\n2)\nx",
    "class A:\n    b = 1\n\n    def c(self): return self.b\nA().c()",
    "",
    "\n\n# nothing",
    "x = 'a'\n'b'",
    "x = 1\nx = 2 if x else\n3",
    "x =\n1",
    "    x = 1\nx",
    "x = 1\r\nx\r\n",
    "match 1:\n    case 1: y = 'one'\ny",
    "1 / 0\n2",
]


def outcome(source):
    namespace = Namespace(PlainShell())
    try:
        value = namespace.run(source, 1)
    except Exception as error:  # noqa: BLE001 - whatever it raises is compared
        lines = []
        trace = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename.startswith("<cell"):
                lines.append(trace.tb_lineno)
            trace = trace.tb_next
        return type(error), str(error), lines
    finally:
        if namespace._loop is not None:
            namespace._loop.close()
    return MISSING if value is MISSING else repr(value)


@pytest.mark.parametrize("source", CELLS)
def test_a_cell_compiled_in_parts_does_what_the_whole_does(source, monkeypatch):
    in_parts = outcome(source)
    monkeypatch.setattr(cells, "split_last_statement", lambda _source: None)
    assert in_parts == outcome(source)


def test_the_second_part_keeps_its_line_numbers():
    assert split_last_statement("a = 1\nb = 2\nb") == ("a = 1\nb = 2\n", "\n\nb")
    assert split_last_statement("a") is None
