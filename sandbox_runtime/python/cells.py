"""Compiling and running a cell in a namespace that persists: last value, top-level await, IPython's syntax."""

from __future__ import annotations
import __future__

import ast
import contextlib
import inspect
import linecache
import types
from typing import TYPE_CHECKING, Any, Final

from sandbox_runtime.python.last_statement import split_last_statement

if TYPE_CHECKING:
    import asyncio

    from sandbox_runtime.python.ipython import Shell

MISSING: Final = object()
"""The value of a cell that has none."""
_FUTURES: Final = {name: getattr(__future__, name).compiler_flag for name in __future__.all_feature_names}


class Namespace:
    """Runs cells in the `__main__` of a context.

    Args:
        shell: Owns the module, and knows IPython's syntax.
    """

    def __init__(self, shell: Shell) -> None:
        self.module = shell.module
        self._shell = shell
        self._flags = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, source: str, number: int) -> Any:
        """Run a cell; the value of its last expression, or MISSING.

        Raises:
            BaseException: Whatever the cell raises, SyntaxError included.
        """
        filename = f"<cell {number}>"
        # An entry without a time stamp is never dropped by linecache.checkcache.
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        codes, has_value = self._compile_cell(source, filename)
        value = self._evaluate(codes)
        if not has_value or value is None or source.rstrip().endswith(";"):
            return MISSING
        self.module.__dict__["_"] = value
        return value

    def _compile_cell(self, source: str, filename: str) -> tuple[list[types.CodeType], bool]:
        """The code of a cell, and whether the last of it is an expression."""
        parts = split_last_statement(source)
        if parts is not None:
            # Whatever is wrong, or IPython's, is for the whole.
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
        # A cell that awaits somewhere runs within the loop from its first line to its last.
        if any(code.co_flags & inspect.CO_COROUTINE for code in codes):
            return self._await(self._evaluate_in_loop(codes))
        value = None
        for code in codes:
            value = eval(code, self.module.__dict__)  # noqa: S307 - running user code is the purpose
        return value

    async def _evaluate_in_loop(self, codes: list[types.CodeType]) -> Any:
        value = None
        for code in codes:
            value = eval(code, self.module.__dict__)  # noqa: S307 - running user code is the purpose
            if code.co_flags & inspect.CO_COROUTINE:
                value = await value
        return value

    def _await(self, coroutine: Any) -> Any:
        # Late, because importing asyncio costs as much as starting Python, and few cells await.
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
