"""Runs `!command` lines. Their output goes through the cell's streams, so it stays in order and can be captured."""

from __future__ import annotations

import codecs
import os
import re
import selectors
import subprocess
import sys
from typing import Any, Final

_SHELL_LINE: Final = re.compile(r"^(\s*)(!|%(?=pip\b|npm\b))(.*)$")
_SPECIAL_SYNTAX: Final = re.compile(r"^\s*(?:[%!?,;/]|.*\?\s*$|[\w\s.,\[\]'\"]+=\s*[%!])", re.MULTILINE)
_FIRST_WORD: Final = re.compile(r"\s*([A-Za-z_]\w*)(?=\s|$)[^\n]*\n*\Z")
_MAGIC: Final = re.compile(
    r"alias|alias_magic|autoawait|autocall|automagic|bookmark|cat|cd|code_wrap|colors|conda|"
    r"config|cp|debug|dhist|dirs|doctest_mode|ed|edit|env|gui|hist|history|killbgscripts|"
    r"ldir|lf|lk|ll|load|load_ext|loadpy|logoff|logon|logstart|logstate|logstop|ls|lsmagic|"
    r"lx|macro|magic|mamba|matplotlib|micromamba|mkdir|mv|notebook|page|pastebin|pdb|pdef|"
    r"pdoc|pfile|pinfo|pinfo2|pip|popd|pprint|precision|prun|psearch|psource|pushd|pwd|pycat"
    r"|pylab|quickref|recall|rehashx|reload_ext|rep|rerun|reset|reset_selective|rm|rmdir|run|"
    r"save|sc|set_env|store|sx|system|tb|time|timeit|unalias|unload_ext|uv|who|who_ls|whos"
    r"|xdel|xmode"
)
"""IPython's line magics. Those of extensions need their `%`."""
_PROMPT: Final = re.compile(r"\s*(?:>>> ?|In \[\d+\]: ?)")
_PROMPTS: Final = re.compile(r"^[ \t]*(?:(?:>>>|\.{3}|\.{3,}:)(?: |$)|In \[\d+\]: )", re.MULTILINE)
_BASH: Final = "/bin/bash"
_RECEIVE: Final = 1 << 16
_PASTED: Final = frozenset(" \t\n>I")
"""First characters of a source that may need changes. Others cost nothing."""
_POLL_SECONDS: Final = 0.05


def has_special_syntax(source: str) -> bool:
    """Return True if a source that is not Python may contain magics, shell lines or a request for help."""
    return _SPECIAL_SYNTAX.search(source) is not None or find_magic_name(source) is not None


def find_magic_name(source: str) -> str | None:
    """Return the first word of a source of one line that may be a magic without its `%`, otherwise None."""
    match = _FIRST_WORD.match(source)
    return match[1] if match is not None and _MAGIC.fullmatch(match[1]) else None


def strip_prompts(source: str) -> str:
    """Return a source without what comes with pasted code: byte-order mark, prompts, indentation of the first line.

    Lines keep their numbers.
    """
    source = source.removeprefix("\ufeff")
    if source[:1] not in _PASTED:
        return source
    if _PROMPT.match(source):
        source = _PROMPTS.sub("", source)
    first = source.lstrip("\n")
    indent = first[: len(first) - len(first.lstrip(" \t"))]
    if not indent:
        return source
    return "\n".join(line.removeprefix(indent) for line in source.split("\n"))


def rewrite_shell_lines(source: str) -> str:
    """Rewrite lines that start with `!` or `%pip` as calls of `__sandbox_shell__`. Used without IPython."""
    lines = []
    for line in source.split("\n"):
        match = _SHELL_LINE.match(line)
        lines.append(f"{match[1]}__sandbox_shell__({match[3].strip()!r})" if match else line)
    return "\n".join(lines)


def run_shell_line(command: str) -> int:
    """Run a command with its output in `sys.stdout` and `sys.stderr`, and return its exit code.

    Reports a non-zero exit code on stderr. Does not wait for a background child that keeps the pipes open.
    """
    process = subprocess.Popen(  # noqa: S602 - the user's own shell line
        command,
        shell=True,
        executable=_BASH if os.path.exists(_BASH) else None,  # noqa: PTH110 - cheaper than a Path
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process, selectors.DefaultSelector() as selector:
        for pipe, target in ((process.stdout, sys.stdout), (process.stderr, sys.stderr)):
            if pipe is not None:
                selector.register(pipe, selectors.EVENT_READ, _Relay(target))
        try:
            _relay_until_end(process, selector)
        except BaseException:
            process.kill()
            raise
        code = process.wait()
    if code:
        print(f"command exited with {code}", file=sys.stderr)  # noqa: T201
    return code


def _relay_until_end(process: subprocess.Popen[bytes], selector: selectors.BaseSelector) -> None:
    while selector.get_map():
        has_ended = process.poll() is not None
        ready = selector.select(_POLL_SECONDS)
        if has_ended and not ready:
            return
        for key, _ in ready:
            data = os.read(key.fd, _RECEIVE)
            key.data.write(data)
            if not data:
                selector.unregister(key.fileobj)


class _Relay:
    """Decodes a command's bytes into a text stream, which may be a capturing one."""

    def __init__(self, target: Any) -> None:
        self._target = target
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="backslashreplace")

    def write(self, data: bytes) -> None:
        text = self._decoder.decode(data, final=not data)
        if text:
            self._target.write(text)
            self._target.flush()
