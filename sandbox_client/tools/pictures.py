"""Scales pictures that are too large for a model, inside the sandbox.

User code made the picture, so this process reads only its header: a decoder of hostile pictures belongs where the code
runs, under the session's limits of time and memory. A picture that cannot be scaled is not shown, and the result says
why.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import secrets
from typing import TYPE_CHECKING, Final

from sandbox_client.errors import SandboxError
from sandbox_client.tools.limits import MAX_PICTURES
from sandbox_client.tools.results import Image
from sandbox_client.tools.shown import displayed_pictures, image_format

if TYPE_CHECKING:
    from sandbox_client.models.file_info import FileInfo
    from sandbox_client.models.results import Execution
    from sandbox_client.sandbox import AsyncSandbox

MAX_IMAGE_BYTES: Final = 16 << 20
"""Maximum size of a picture that is shown without a limit for its edge."""
MAX_SCALED_BYTES: Final = 3_500_000
"""Maximum size of a picture that is shown with such a limit. Models' APIs accept 5 MB of base64."""
OUTPUT_FOLDER: Final = ".cache/tool-output"
"""Folder of the sandbox for what models get only in part. A push of everything leaves it out."""
_HEADER: Final = 64 << 10
_SECONDS: Final = 30.0
_SCALE: Final = """\
import base64, io, sys
try:
    from PIL import Image
except ImportError:
    raise RuntimeError("the sandbox has no Pillow: pip install pillow") from None
try:
    with Image.open({path!r}) as image:
        image.thumbnail(({edge}, {edge}))
        if image.mode not in ("RGB", "RGBA", "L", "LA", "P"):
            image = image.convert("RGB")
        for form in ("PNG", "JPEG"):
            scaled = io.BytesIO()
            (image if form == "PNG" else image.convert("RGB")).save(scaled, form)
            if scaled.tell() <= {most}:
                break
except Exception as error:
    raise RuntimeError(f"{{type(error).__name__}}: {{error}}") from None
sys.stdout.write(base64.b64encode(scaled.getvalue()).decode())
"""


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Return a picture's width and height in pixels, or None if its header does not say.

    Args:
        data: A PNG, JPEG, GIF or WebP, or its beginning.
    """
    kind = image_format(data)
    if kind == "png" and data[12:16] == b"IHDR":
        return _numbers(data, 16, 4, "big")
    if kind == "gif":
        return _numbers(data, 6, 2, "little")
    if kind == "webp":
        return _webp_size(data)
    return _jpeg_size(data) if kind == "jpeg" else None


def _numbers(data: bytes, start: int, size: int, order: str) -> tuple[int, int] | None:
    if len(data) < start + 2 * size:
        return None
    pair = [int.from_bytes(data[at : at + size], order) for at in (start, start + size)]  # type: ignore[arg-type]
    return pair[0], pair[1]


def _webp_size(data: bytes) -> tuple[int, int] | None:
    chunk = data[12:16]
    if chunk == b"VP8X" and (size := _numbers(data, 24, 3, "little")):
        return size[0] + 1, size[1] + 1
    if chunk == b"VP8L" and len(data) >= 25:  # noqa: PLR2004 - the header's size
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 " and (size := _numbers(data, 26, 2, "little")):
        return size[0] & 0x3FFF, size[1] & 0x3FFF
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    position = 2
    while position + 9 <= len(data) and data[position] == 0xFF:  # noqa: PLR2004 - a marker
        marker = data[position + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # noqa: PLR2004 - a frame header
            height, width = _numbers(data, position + 5, 2, "big") or (0, 0)
            return width, height
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return None


class Pictures:
    """The pictures of one result.

    Args:
        sandbox: The session.
        max_edge: Pixels of the longer edge; None for no limit.

    Attributes:
        shown: The pictures that the model gets.
        notes: A sentence for each picture that it does not get, or gets smaller.
    """

    def __init__(self, sandbox: AsyncSandbox, max_edge: int | None) -> None:
        self._sandbox = sandbox
        self._max_edge = max_edge
        self.shown: tuple[Image, ...] = ()
        self.notes: list[str] = []

    async def add_displayed(self, execution: Execution) -> None:
        """Add the pictures that code displayed. Beside a file that is one, a single one is most likely the same.

        `deliver` says in the text that such a picture is not shown.
        """
        displayed = displayed_pictures(execution)
        if self.shown and len(displayed) == 1:
            return
        for number, content in enumerate(displayed[:MAX_PICTURES], start=1):
            if self._fits(content, len(content)):
                self.shown += (Image(image_format(content), content),)
                continue
            path = f"{OUTPUT_FOLDER}/{secrets.token_hex(8)}"
            try:
                await self._sandbox.files.write(path, content)
                await self._add_scaled(f"picture {number}", path, content)
            except SandboxError as error:
                self.notes.append(f"picture {number} is not shown: {error}")
            finally:
                with contextlib.suppress(SandboxError):
                    await self._sandbox.files.remove(path)
        if len(displayed) > MAX_PICTURES:
            self.notes.append(f"only the first {MAX_PICTURES} of {len(displayed)} pictures are shown")

    async def add_file(self, info: FileInfo) -> None:
        """Add a file, if its content is a picture.

        Raises:
            SandboxError: It cannot be read.
        """
        header = await self._sandbox.files.read(info.path, length=_HEADER) if info.size else b""
        if not (kind := image_format(header)):
            return
        if self._fits(header, info.size):
            self.shown += (Image(kind, await self._sandbox.files.read(info.path)),)
        elif self._max_edge is not None:
            await self._add_scaled(info.path, info.path, header)
        else:
            self.notes.append(f"{info.path} is not shown: it is larger than {MAX_IMAGE_BYTES >> 20} MiB")

    def _fits(self, header: bytes, size: int) -> bool:
        if self._max_edge is None:
            return size <= MAX_IMAGE_BYTES
        edges = picture_size(header)
        # A picture without a readable size is broken, or its format is not what it claims. The decoder decides.
        return edges is not None and max(edges) <= self._max_edge and size <= MAX_SCALED_BYTES

    async def _add_scaled(self, name: str, path: str, header: bytes) -> None:
        before = picture_size(header)
        named = f"{name} ({before[0]} x {before[1]} pixels)" if before else name
        scaled, problem = await self._scale(path)
        after = picture_size(scaled)
        if after is None:
            self.notes.append(f"{named} is not shown: {problem}. Save it smaller, for example with dpi=100")
            return
        self.shown += (Image(image_format(scaled), scaled),)
        if before and before != after:
            self.notes.append(f"{named} is shown scaled to {after[0]} x {after[1]}")

    async def _scale(self, path: str) -> tuple[bytes, str]:
        """Return a scaled copy and "", or nothing and the reason."""
        edge = self._max_edge or 0
        code = _SCALE.format(path=path, edge=edge, most=MAX_SCALED_BYTES)
        try:
            # A context of its own keeps the variables and the numbers of the model's cells.
            context = await self._sandbox.contexts.create("python")
            try:
                async with asyncio.timeout(_SECONDS):
                    execution = await self._sandbox.run_code(code, context=context.id)
            finally:
                with contextlib.suppress(SandboxError):
                    await self._sandbox.contexts.delete(context.id)
        except TimeoutError:
            return b"", f"scaling it took longer than {_SECONDS:g} s"
        except SandboxError as error:
            return b"", f"it cannot be scaled: {error}"
        if not execution.ok:
            error_text = execution.error.value if execution.error else f"it ended as {execution.status}"
            return b"", f"it cannot be scaled: {error_text.strip()[:300]}"
        try:
            scaled = base64.b64decode(execution.stdout, validate=True)
        except (binascii.Error, ValueError):
            scaled = b""
        size = picture_size(scaled)
        if size is None or max(size) > edge or len(scaled) > MAX_SCALED_BYTES:
            return b"", "it cannot be scaled: the sandbox returned no smaller picture"
        return scaled, ""
