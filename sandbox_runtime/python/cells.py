"""Compiles and runs cells in one namespace, with a last value, top-level await and IPython's syntax."""

from __future__ import annotations
import __future__

import ast
import contextlib
import functools
import inspect
import io
import linecache
import re
import sys
import tokenize
import types
from typing import TYPE_CHECKING, Any, Final

from sandbox_runtime.python.output.user_frames import awaited_frames, drop_internal_frames
from sandbox_runtime.python.shell_lines import find_magic_name, strip_prompts

if TYPE_CHECKING:
    import asyncio
    import socket

    from sandbox_runtime.python.ipython import Shell

CELL: Final = "<cell "
"""Beginning of the file name of a cell."""
MISSING: Final = object()
"""Stands for the value of a cell that has none."""
SHOW: Final = "__sandbox_show__"
"""Name of the function that shows a value which is not the cell's last."""
_LOOP_USERS: Final = frozenset({"create_task", "ensure_future", "gather", "get_running_loop"})
"""Functions that need a running event loop, which a cell without `await` lacks otherwise."""
_RUNNERS: Final = frozenset({"run", "run_until_complete", "run_forever"})
"""Functions that start a loop, which is impossible inside another one."""
_NO_CODE: Final = frozenset({tokenize.ENDMARKER, tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT, tokenize.DEDENT})
_NOT_A_START: Final = frozenset(" \t\f\r#)]}")
# User code may replace them.
_compile: Final = compile
_run: Final = eval
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
        source = strip_prompts(source)
        self._shell.history.begin(number, source)
        # Python shows a warning once for each line, and every cell has a first line.
        self.module.__dict__.pop("__warningregistry__", None)
        filename = f"{CELL}{number}>"
        # linecache.checkcache never drops an entry without a time stamp. `inspect` shows each line with its end.
        lines = (source if source.endswith("\n") else f"{source}\n").splitlines(keepends=True)
        linecache.cache[filename] = (len(source), None, lines, filename)
        try:
            return self._run_source(source, filename)
        except NameError as error:
            magic = self._find_automagic(source, error.name)
            if magic is None:
                raise
        return self._run_source(magic, filename)

    def _run_source(self, source: str, filename: str) -> Any:
        codes, has_value, source = self._compile_cell(source, filename)
        try:
            value = self._evaluate(codes)
        finally:
            sys.setprofile(None)
            sys.settrace(None)
        return MISSING if not has_value or value is None or ends_with_semicolon(source) else value

    def _find_automagic(self, source: str, name: str | None) -> str | None:
        """Return the Python of a magic that was written without its `%`, after its name was not found."""
        if not name or name != find_magic_name(source):
            return None
        translated = self._shell.translate(source)
        return None if translated == source else translated

    def _compile_cell(self, source: str, filename: str) -> tuple[list[types.CodeType], bool, str]:
        """Return the code of a cell, True if its last statement is an expression, and the cell as Python."""
        parts = split_last_statement(source)
        adapts = self._shell.adapts_cells
        if parts is not None and not adapts:
            # A syntax error, or IPython's syntax, is handled below, over the whole cell.
            with contextlib.suppress(SyntaxError):
                tree = self._compile(parts[1], filename, "exec", ast.PyCF_ONLY_AST)
                if not isinstance(tree.body[-1], ast.Expr):
                    return [self._compile(source, filename, "exec")], False, source
                codes = [self._compile(parts[0], filename, "exec"), *self._compile_tree(tree, filename)]
                return codes, True, parts[1]
        tree, source = self._parse(source, filename)
        if adapts:
            tree = self._shell.transform_tree(tree)
            _apply_interactivity(tree, self._shell.interactivity)
        has_value = bool(tree.body) and isinstance(tree.body[-1], ast.Expr)
        return self._compile_tree(tree, filename), has_value, source

    def _compile_tree(self, tree: Any, filename: str) -> list[types.CodeType]:
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        codes = [self._compile(part, filename, "exec") for part in _before_futures(tree)]
        if last is not None:
            codes.append(self._compile(ast.Expression(last.value), filename, "eval"))
        return codes

    def _parse(self, source: str, filename: str) -> tuple[Any, str]:
        try:
            if not self._shell.transforms_sources:
                return self._compile(source, filename, "exec", ast.PyCF_ONLY_AST), source
        except SyntaxError:
            rewritten = self._shell.translate(source)
            if rewritten == source:
                raise
        else:
            rewritten = self._shell.translate(source)
        return self._compile(rewritten, filename, "exec", ast.PyCF_ONLY_AST), rewritten

    def _compile(self, source: Any, filename: str, mode: str, flags: int = 0) -> Any:
        code = _compile(source, filename, mode, self._flags | flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        if isinstance(code, types.CodeType):
            for flag in _FUTURES.values():
                self._flags |= code.co_flags & flag
        return code

    def _evaluate(self, codes: list[types.CodeType]) -> Any:
        # If any part of a cell awaits or starts a task, the whole cell runs inside the loop.
        names = {name for code in codes for name in code.co_names}
        if any(code.co_flags & inspect.CO_COROUTINE for code in codes) or (
            names & _LOOP_USERS and not names & _RUNNERS
        ):
            return self._await(self._evaluate_in_loop(codes))
        if "get_event_loop" in names:
            # asyncio.run leaves none behind.
            self._set_loop()
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
            return _run(code, self.module.__dict__)
        finally:
            self._trace, self._profile = sys.gettrace(), sys.getprofile()
            sys.setprofile(None)
            sys.settrace(None)

    def has_tasks(self) -> bool:
        """Return True if cells have left tasks behind that have not ended."""
        asyncio, loop = sys.modules.get("asyncio"), self._loop
        return asyncio is not None and loop is not None and not loop.is_closed() and bool(asyncio.all_tasks(loop))

    def run_tasks_until(self, control: socket.socket) -> None:
        """Run the tasks that cells have left behind, until a socket is readable."""
        loop = self._loop
        if loop is None or not self.has_tasks():
            return
        loop.add_reader(control, loop.stop)
        try:
            loop.run_forever()
        finally:
            loop.remove_reader(control)

    def _await(self, coroutine: Any) -> Any:
        loop = self._set_loop()
        task = loop.create_task(coroutine)
        try:
            return loop.run_until_complete(task)
        except BaseException as error:
            if not task.done():
                # It was interrupted in the loop. The user's place is where the cell waits.
                drop_internal_frames(error)
                if error.__traceback__ is None:
                    error.with_traceback(awaited_frames(coroutine))
                task.cancel()
                loop.run_until_complete(sys.modules["asyncio"].gather(task, return_exceptions=True))
            raise

    def _set_loop(self) -> asyncio.AbstractEventLoop:
        # Few cells await, and importing asyncio takes as long as starting Python.
        import asyncio  # noqa: PLC0415

        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
            self._loop.set_exception_handler(_report_exception)
        asyncio.set_event_loop(self._loop)
        return self._loop


def _report_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report an exception that no task awaits, as the loop does, without its own frames."""
    if (error := context.get("exception")) is not None:
        drop_internal_frames(error)
    loop.default_exception_handler(context)


def _before_futures(tree: Any) -> list[Any]:
    """Split a module so that each `__future__` import is the first statement of its part, as Python demands."""
    body, parts = tree.body, []
    starts = [
        number for number, node in enumerate(body) if isinstance(node, ast.ImportFrom) and node.module == "__future__"
    ]
    for start, end in zip([0, *starts], [*starts, len(body)], strict=True):
        if start < end:
            parts.append(ast.Module(body[start:end], tree.type_ignores))
    return parts


def ends_with_semicolon(source: str) -> bool:
    """Return True if the last token of a source, comments aside, is a semicolon."""
    if ";" not in source:
        return False
    last = ""
    with contextlib.suppress(tokenize.TokenError, SyntaxError):
        for token in tokenize.generate_tokens(io.StringIO(source.strip("\n")).readline):
            if token.type not in _NO_CODE:
                last = token.string
    return last == ";"


def _apply_interactivity(tree: Any, mode: str) -> None:
    """Change a cell so that it shows the values that IPython's option `ast_node_interactivity` asks for."""
    body = tree.body
    if mode == "last_expr_or_assign" and body and isinstance(body[-1], ast.Assign | ast.AugAssign | ast.AnnAssign):
        target = body[-1].targets[0] if isinstance(body[-1], ast.Assign) else body[-1].target
        if isinstance(target, ast.Name):
            body.append(ast.copy_location(ast.Expr(ast.Name(target.id, ast.Load())), body[-1]))
    elif mode == "all":
        for node in body[:-1]:
            if isinstance(node, ast.Expr):
                node.value = ast.Call(ast.Name(SHOW, ast.Load()), [node.value], [])
    elif mode == "none" and body and isinstance(body[-1], ast.Expr):
        body.append(ast.copy_location(ast.Pass(), body[-1]))
    ast.fix_missing_locations(tree)


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


def find_sources_of_classes(inspect: Any) -> None:
    """Let `inspect.getsource` find classes that cells define, although `__main__` has no file."""
    find_file = inspect.getfile

    @functools.wraps(find_file)
    def getfile(value: Any) -> str:
        try:
            found: str = find_file(value)
        except (TypeError, OSError):
            if not isinstance(value, type) or value.__module__ != "__main__":
                raise
            definition = re.compile(rf"^\s*class\s+{re.escape(value.__name__)}\b", re.MULTILINE)
            for name, entry in reversed(list(linecache.cache.items())):
                if name.startswith(CELL) and len(entry) > 1 and definition.search("".join(entry[2])):
                    return name
            raise
        return found

    find_absolute = inspect.getabsfile

    @functools.wraps(find_absolute)
    def getabsfile(value: Any, _filename: str | None = None) -> str:
        if _filename is None:
            name = inspect.getsourcefile(value) or getfile(value)
            if name.startswith(CELL):
                # A cell is in no folder.
                return name
        absolute: str = find_absolute(value, _filename)
        return absolute

    inspect.getfile = getfile
    inspect.getabsfile = getabsfile
