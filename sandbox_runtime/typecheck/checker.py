"""Checks the types of cells with a warm language server that has the modules of earlier cells.

It runs one check at a time. If the server has died or grown too large, the next check starts another one and sends it
all modules again.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sandbox_runtime.typecheck import find_checker
from sandbox_runtime.typecheck.declarations import (
    GLOBALS,
    Declaration,
    Origin,
    build_module,
    has_jsx,
    is_broken,
    prepare,
    read_declarations,
    read_diagnostics,
    read_failed_exports,
)
from sandbox_runtime.typecheck.language_server import SOFT_MEMORY, CheckerError, LanguageServer
from sandbox_runtime.typecheck.source_changes import compare, packages_stamp, scan_sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from sandbox_runtime.interpreters.zygote_client import Child
    from sandbox_runtime.typecheck import Installation
    from sandbox_runtime.typecheck.cell_history import Cell, CellHistory

    Spawn = Callable[[Installation, Path, Sequence[int]], Child]

_IDLE_SECONDS: Final = 600.0
_CURRENT: Final = "__sandbox_cell__.ts"
_CURRENT_JSX: Final = "__sandbox_cell_jsx__.tsx"
_GLOBALS: Final = "__sandbox_globals__.d.ts"
_MAX_CONTEXTS: Final = 16
"""Contexts whose modules the server keeps. The one whose last check is oldest is dropped first."""


@dataclass(slots=True)
class _Known:
    """The modules of one context's process that the server has."""

    generation: int
    folder: Path
    modules: dict[int, str] = field(default_factory=dict)
    names: dict[str, Origin] = field(default_factory=dict)


class Checker:
    """Checks the cells of all contexts.

    Args:
        home: HOME of user code.
        spawn: Starts a checker in a folder, with the given descriptors.
    """

    def __init__(self, home: Path, spawn: Spawn) -> None:
        self._home = home
        self._spawn = spawn
        self._lock = asyncio.Lock()
        self._server: LanguageServer | None = None
        self._known: dict[str, _Known] = {}
        self._versions: dict[str, int] = {}
        self._sources: dict[Path, dict[str, int]] = {}
        self._packages: dict[Path, tuple[int, ...]] = {}
        self._idle: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[None] | None = None

    @property
    def is_installed(self) -> bool:
        """True if a checker is installed."""
        return find_checker(self._home) is not None

    async def check(self, context_id: str, history: CellHistory, folder: Path, code: str) -> list[dict[str, Any]]:
        """Return the type errors of a cell that is about to run, in the form of `declarations.read_diagnostics`.

        Args:
            context_id: Its context.
            history: The cells that ran before it.
            folder: The working directory, which relative imports refer to.
            code: The cell.

        Raises:
            CheckerError: The server could not answer. The message gives the reason.
        """
        async with self._lock:
            for attempt in (1, 2):
                try:
                    return await self._check(context_id, history, folder, code)
                except CheckerError:
                    died = self._server is None or self._server.has_ended
                    await self._stop()
                    if attempt == 2 or not died:  # noqa: PLR2004 - the second of two
                        raise
                except asyncio.CancelledError:
                    # Interrupted or past the deadline: the server may stay busy for long.
                    await self._stop()
                    raise
        raise AssertionError  # unreachable: the second attempt returns or raises

    async def close(self) -> None:
        """End the server."""
        await self._stop()

    async def _check(self, context_id: str, history: CellHistory, folder: Path, code: str) -> list[dict[str, Any]]:
        server = await self._prepare(folder)
        known = self._known.pop(context_id, None)
        if known is None or known.generation != history.generation or known.folder != folder:
            self._forget(server, known)
            known = _Known(history.generation, folder)
        self._known[context_id] = known
        while len(self._known) > _MAX_CONTEXTS:
            self._forget(server, self._known.pop(next(iter(self._known))))
        await self._add_modules(server, context_id, known, history.cells)
        items = await self._check_current(server, folder / _CURRENT, known, code)
        # What is no valid code may be JSX. Only JSX cells go there: casts such as <T>x would be errors.
        if is_broken(items) and has_jsx(code):
            items = await self._check_current(server, folder / _CURRENT_JSX, known, code)
        return read_diagnostics(code, items, is_complete=history.is_complete)

    async def _check_current(
        self, server: LanguageServer, path: Path, known: _Known, code: str
    ) -> list[dict[str, Any]]:
        language = _language(path.suffix)
        declared = await self._declarations(server, path, language, code)
        self._write(server, path, language, build_module(code, known.names, declared, typed=True))
        return await self._diagnose(server, path)

    async def _prepare(self, folder: Path) -> LanguageServer:
        """Return a running server that has the folder's current state."""
        packages = packages_stamp(folder, self._home)
        server = self._server
        if server is not None and (
            server.has_ended or server.memory > SOFT_MEMORY or self._packages.get(folder, packages) != packages
        ):
            await self._stop()
        installation = find_checker(self._home)
        if installation is None:
            raise CheckerError("the type checker was removed")
        if self._server is None:
            self._server = await LanguageServer.start(lambda fds: self._spawn(installation, folder, fds))
            capabilities = {"textDocument": {"documentSymbol": {"hierarchicalDocumentSymbolSupport": True}}}
            root = {"uri": folder.as_uri(), "name": "workspace"}
            parameters = {"processId": None, "rootUri": root["uri"], "workspaceFolders": [root]}
            await self._server.request("initialize", {**parameters, "capabilities": capabilities})
            self._server.notify("initialized", {})
        self._set_idle_timer()
        if folder not in self._packages:
            self._packages[folder] = packages
            self._write(self._server, folder / "tsconfig.json", "jsonc", self._configuration(installation))
            self._write(self._server, folder / _GLOBALS, "typescript", GLOBALS)
        self._report_changes(self._server, folder)
        return self._server

    def _report_changes(self, server: LanguageServer, folder: Path) -> None:
        before, after = self._sources.get(folder), scan_sources(folder)
        self._sources[folder] = after
        if before is not None and (changes := compare(before, after)):
            server.notify("workspace/didChangeWatchedFiles", {"changes": changes})

    def _configuration(self, installation: Installation) -> str:
        libraries = self._home / "npm" / "lib" / "node_modules"
        options = {
            "strict": True,
            "target": "esnext",
            "lib": ["esnext"],
            "module": "preserve",
            "moduleResolution": "bundler",
            "moduleDetection": "force",
            "resolveJsonModule": True,
            "allowImportingTsExtensions": True,
            "allowJs": True,
            "jsx": "preserve",
            "noEmit": True,
            "skipLibCheck": True,
            "typeRoots": [str(installation.types)],
            "types": ["node"] if (installation.types / "node").is_dir() else [],
            "paths": {"*": ["./node_modules/*", f"{libraries}/*", f"{installation.types}/*"]},
        }
        return json.dumps(
            {"compilerOptions": options, "files": [f"./{_GLOBALS}", f"./{_CURRENT}", f"./{_CURRENT_JSX}"]}
        )

    async def _add_modules(self, server: LanguageServer, context_id: str, known: _Known, cells: Iterable[Cell]) -> None:
        """Send the server the modules of cells that have run since the last check."""
        fresh = [cell for cell in cells if cell.number not in known.modules]
        files = {
            cell.number: f"__sandbox_{context_id}_{known.generation}_{cell.number}" + _suffix(cell) for cell in fresh
        }
        declarations = await asyncio.gather(
            *(self._declarations(server, known.folder / files[c.number], _language(_suffix(c)), c.code) for c in fresh)
        )
        before = []
        for cell, declared in zip(fresh, declarations, strict=True):
            before.append(dict(known.names))
            self._define(server, known, files[cell.number], cell, (declared, before[-1]))
            _add_names(known, files[cell.number], declared)
            known.modules[cell.number] = files[cell.number]
        answers = await asyncio.gather(*(self._diagnose(server, known.folder / files[cell.number]) for cell in fresh))
        for cell, declared, names, items in zip(fresh, declarations, before, answers, strict=True):
            failed = set(declared) if is_broken(items) else read_failed_exports(cell.code, declared, items)
            for name in failed & known.names.keys():
                if known.names[name].module == _module(files[cell.number]):
                    del known.names[name]
                    if name in names:
                        known.names[name] = names[name]
            if failed:
                kept = {name: declaration for name, declaration in declared.items() if name not in failed}
                self._define(server, known, files[cell.number], cell, (kept, names))

    def _define(
        self,
        server: LanguageServer,
        known: _Known,
        file: str,
        cell: Cell,
        scope: tuple[Mapping[str, Declaration], Mapping[str, Origin]],
    ) -> None:
        declared, names = scope
        text = build_module(cell.code, names, declared, typed=cell.language == "typescript")
        self._write(server, known.folder / file, _language(_suffix(cell)), text)

    async def _declarations(
        self, server: LanguageServer, path: Path, language: str, code: str
    ) -> dict[str, Declaration]:
        self._write(server, path, language, prepare(code))
        symbols = await server.request("textDocument/documentSymbol", {"textDocument": {"uri": path.as_uri()}})
        return read_declarations(code, symbols or ())

    async def _diagnose(self, server: LanguageServer, path: Path) -> list[dict[str, Any]]:
        answer = await server.request("textDocument/diagnostic", {"textDocument": {"uri": path.as_uri()}})
        items: list[dict[str, Any]] = (answer or {}).get("items", [])
        return items

    def _write(self, server: LanguageServer, path: Path, language: str, text: str) -> None:
        uri = path.as_uri()
        version = self._versions[uri] = self._versions.get(uri, 0) + 1
        document = {"uri": uri, "version": version}
        if version == 1:
            server.notify("textDocument/didOpen", {"textDocument": {**document, "languageId": language, "text": text}})
        else:
            changes = [{"text": text}]
            server.notify("textDocument/didChange", {"textDocument": document, "contentChanges": changes})

    def _forget(self, server: LanguageServer, known: _Known | None) -> None:
        for file in known.modules.values() if known else ():
            uri = (known.folder / file).as_uri() if known else ""
            if self._versions.pop(uri, 0):
                server.notify("textDocument/didClose", {"textDocument": {"uri": uri}})

    def _set_idle_timer(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(_IDLE_SECONDS, self._on_idle)

    def _on_idle(self) -> None:
        self._ending = asyncio.get_running_loop().create_task(self._stop_idle())

    async def _stop_idle(self) -> None:
        async with self._lock:
            await self._stop()

    async def _stop(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        server, self._server = self._server, None
        for cache in (self._known, self._versions, self._sources, self._packages):
            cache.clear()
        if server is not None:
            await server.close()


def _add_names(known: _Known, file: str, declared: Mapping[str, Declaration]) -> None:
    for name, declaration in declared.items():
        known.names[name] = Origin(_module(file), declaration)


def _suffix(cell: Cell) -> str:
    suffix = ".ts" if cell.language == "typescript" else ".js"
    return f"{suffix}x" if has_jsx(cell.code) else suffix


def _language(suffix: str) -> str:
    """Return the name that the language server gives to a language."""
    language = "typescript" if suffix.startswith(".ts") else "javascript"
    return f"{language}react" if suffix.endswith("x") else language


def _module(file: str) -> str:
    return file.removesuffix(".tsx").removesuffix(".ts")
