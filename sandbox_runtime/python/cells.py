"""Compiles and runs cells in one namespace, with a last value, top-level await and IPython's syntax."""

from __future__ import annotations
import __future__

import ast
import contextlib
import inspect
import linecache
import sys
import types
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import asyncio

    from sandbox_runtime.python.ipython import Shell

MISSING: Final = object()
"""Stands for the value of a cell that has none."""
_NOT_A_START: Final = frozenset(" \t\f\r#)]}")
_FUTURES: Final = {name: getattr(__future__, name).compiler_flag for name in __future__.all_feature_names}


class Namespace:
    """Runs cells in the `__main__` of a context.

    Args:
        shell: Owns the module and translates IPython's syntax.
    """

    def __init__(self, shell: Shell) -> None:
        self.module = shell.module
        self._shell = shell
        self._flags = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._trace: Any = None
        self._profile: Any = None

    def run(self, source: str, number: int) -> Any:
        """Run a cell and return the value of its last expression, or MISSING.

        Raises:
            BaseException: Anything that the cell raises, including SyntaxError.
        """
        filename = f"<cell {number}>"
        # linecache.checkcache never drops an entry without a time stamp.
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        codes, has_value = self._compile_cell(source, filename)
        try:
            value = self._evaluate(codes)
        finally:
            sys.setprofile(None)
            sys.settrace(None)
        if not has_value or value is None or source.rstrip().endswith(";"):
            return MISSING
        self.module.__dict__["_"] = value
        return value

    def _compile_cell(self, source: str, filename: str) -> tuple[list[types.CodeType], bool]:
        """Return the code of a cell, and True if its last statement is an expression."""
        parts = split_last_statement(source)
        if parts is not None:
            # A syntax error, or IPython's syntax, is handled below, over the whole cell.
            with contextlib.suppress(SyntaxError):
                tree = self._compile(parts[1], filename, "exec", ast.PyCF_ONLY_AST)
                if not isinstance(tree.body[-1], ast.Expr):
                    return [self._compile(source, filename, "exec")], False
                return [self._compile(parts[0], filename, "exec"), *self._compile_tree(tree, filename)], True
        tree = self._parse(source, filename)
        has_value = bool(tree.body) and isinstance(tree.body[-1], ast.Expr)
        return self._compile_tree(tree, filename), has_value

    def _compile_tree(self, tree: Any, filename: str) -> list[types.CodeType]:
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        codes = [self._compile(tree, filename, "exec")] if tree.body else []
        if last is not None:
            codes.append(self._compile(ast.Expression(last.value), filename, "eval"))
        return codes

    def _parse(self, source: str, filename: str) -> Any:
        try:
            return self._compile(source, filename, "exec", ast.PyCF_ONLY_AST)
        except SyntaxError:
            rewritten = self._shell.translate(source)
            if rewritten == source:
                raise
            return self._compile(rewritten, filename, "exec", ast.PyCF_ONLY_AST)

    def _compile(self, source: Any, filename: str, mode: str, flags: int = 0) -> Any:
        code = compile(source, filename, mode, self._flags | flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        if isinstance(code, types.CodeType):
            for flag in _FUTURES.values():
                self._flags |= code.co_flags & flag
        return code

    def _evaluate(self, codes: list[types.CodeType]) -> Any:
        # If any part of a cell awaits, the whole cell runs inside the loop.
        if any(code.co_flags & inspect.CO_COROUTINE for code in codes):
            return self._await(self._evaluate_in_loop(codes))
        value = None
        for code in codes:
            value = self._run_code(code)
        return value

    async def _evaluate_in_loop(self, codes: list[types.CodeType]) -> Any:
        value = None
        for code in codes:
            value = self._run_code(code)
            if code.co_flags & inspect.CO_COROUTINE:
                value = await value
        return value

    def _run_code(self, code: types.CodeType) -> Any:
        # The runtime's own code is not traced: functions that user code has set may raise.
        try:
            sys.settrace(self._trace)
            sys.setprofile(self._profile)
            return eval(code, self.module.__dict__)  # noqa: S307 - running user code is the purpose
        finally:
            self._trace, self._profile = sys.gettrace(), sys.getprofile()
            sys.setprofile(None)
            sys.settrace(None)

    def _await(self, coroutine: Any) -> Any:
        # Few cells await, and importing asyncio takes as long as starting Python.
        import asyncio  # noqa: PLC0415

        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        task = self._loop.create_task(coroutine)
        try:
            return self._loop.run_until_complete(task)
        except BaseException:
            if not task.done():
                task.cancel()
                self._loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
            raise


def split_last_statement(source: str) -> tuple[str, str] | None:
    """Split a cell before the last line that may begin a statement. Keeps the line numbers of the second part.

    A cell's value is that of its last expression. Parsing the whole cell into Python objects to find it would cost more
    than compiling, so only the end is parsed. The split is right if both parts are valid Python: then the first part
    leaves no string, bracket or line open. Otherwise, and if this returns None, parse the whole cell.
    """
    lines = source.split("\n")
    for number in range(len(lines) - 1, 0, -1):
        line = lines[number]
        if line and line[0] not in _NOT_A_START:
            if lines[number - 1].endswith("\\"):
                return None
            # A __future__ import must come first in a file, and would wrongly be accepted here.
            rest = "\n".join(lines[number:])
            return None if "__future__" in rest else ("\n".join(lines[:number]) + "\n", "\n" * number + rest)
    return None
