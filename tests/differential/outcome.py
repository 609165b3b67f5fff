"""Records the output of a cell. Outcomes of a notebook and of a session can be compared."""

import json
import re
from dataclasses import dataclass, field

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{6,}")
_CELL = re.compile(r"[^\s\"'(<]*/ipykernel_\d+/\d+\.py|<cell \d+>|<ipython-input-[^>]*>|(?<=\()\d+\.py(?=, line)")
_UNIT = r"\d+(?:\.\d+)?(?:e[+-]?\d+)?\s*(?:ns|[µμu]s|ms|s|min|h)\b"
_TIMINGS = re.compile(
    rf"(?:CPU times|Wall time|Compiler time|total):.*|timed out after [\d.]+|{_UNIT}(?: ± {_UNIT})? per loop.*"
)
_TEMPORARY = re.compile(r"/tmp/[\w./-]+")
_IDS = re.compile(
    r"sk-container-id-\d+|sk-estimator-id-\d+|\b[pmai][0-9a-f]{8,10}\b|<dc:date>.*</dc:date>|T_[0-9a-f]{5}"
)
_CACHE = re.compile(r".*UserWarning: Output cache limit .*\n.*\n.*\n")
_BLANKS = re.compile(r"[ \t]+$", re.MULTILINE)


def normalise(text, folders=()):
    """Return a text without what differs from run to run: colours, addresses, names of cells, timings, folders."""
    for folder, name in dict(folders).items():
        text = text.replace(folder, name)
    # A notebook's shell lines run in a terminal.
    text = text.replace("\r\n", "\n")
    for pattern, replacement in (
        (_ANSI, ""),
        (_ADDRESS, "0x..."),
        (_CELL, "<cell>"),
        (_TIMINGS, "<timing>"),
        (_TEMPORARY, "<temporary>"),
        (_IDS, "<id>"),
        (_CACHE, ""),
        (_BLANKS, ""),
    ):
        text = pattern.sub(replacement, text)
    return text


def _text_of(content):
    return content if isinstance(content, str) else json.dumps(content)


@dataclass(frozen=True)
class Outcome:
    """Everything that one cell showed.

    `parts` has texts on stdout and results in their order: `("stdout", text)`, `("result", text/plain, forms)` and
    `("display", text/plain, forms)`. The forms are pairs of a type and a text; pictures have no text. A notebook does
    not keep the order of stderr and stdout, so `stderr` stands alone.
    """

    parts: tuple = ()
    stderr: str = ""
    error: tuple | None = None

    def differences(self, other):
        """Return what differs, as a dict from a name to both values."""
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in ("parts", "stderr", "error")}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


@dataclass
class Recorder:
    """Builds an outcome from what arrives."""

    folders: dict
    _parts: list = field(default_factory=list)
    _stderr: str = ""
    _error: tuple | None = None

    def write(self, stream, text):
        if stream == "stderr":
            self._stderr += text
        elif self._parts and self._parts[-1][0] == "stdout":
            self._parts[-1] = ("stdout", self._parts[-1][1] + text)
        elif text:
            self._parts.append(("stdout", text))

    def take_back(self, stream, text):
        """Remove a text that repeats the error."""
        assert stream == "stderr"
        self._stderr = self._stderr.removesuffix(text)

    def show(self, bundle, display_id="", *, is_main=False, is_update=False):
        kind = "result" if is_main else "display"
        # Pictures differ in the backend's settings.
        texts = {mime: _text_of(content) for mime, content in bundle.items() if not mime.startswith("image/p")}
        others = {mime: "" if mime not in texts or mime == "text/plain" else texts[mime] for mime in bundle}
        part = (kind, texts.get("text/plain", ""), tuple(sorted(others.items())), display_id)
        if is_update and display_id:
            for index, shown in enumerate(self._parts):
                if shown[0] != "stdout" and shown[3] == display_id:
                    self._parts[index] = (shown[0], *part[1:])
                    return
        self._parts.append(part)

    def fail(self, name, value):
        self._error = (name, normalise(value, self.folders))

    def _forms(self, rest):
        return [tuple((mime, normalise(content, self.folders)) for mime, content in forms) for forms in rest[:1]]

    def finish(self):
        parts = tuple((kind, normalise(text, self.folders), *self._forms(rest)) for kind, text, *rest in self._parts)
        return Outcome(parts, normalise(self._stderr, self.folders), self._error)
