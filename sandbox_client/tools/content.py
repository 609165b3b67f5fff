"""Content blocks of a tool's result, in the forms that the APIs of models and agent frameworks accept. Pure: no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from sandbox_client.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ContentStyle = Literal["anthropic", "openai", "langchain", "mcp"]


def build_content(style: ContentStyle, text: str, pictures: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """Return the blocks: the text, then the pictures.

    Args:
        style: Whose form. `anthropic`: the content of a `tool_result` of the Messages API. `openai`: the output of a
            `function_call_output` of the Responses API. `langchain`: the content of a ToolMessage. `mcp`: the content
            of a `CallToolResult`.
        text: The text.
        pictures: MIME type and base64 of each picture.

    Raises:
        InvalidArgument: There is no such style.
    """
    if style not in _STYLES:
        known = ", ".join(_STYLES)
        raise InvalidArgument(f"{style!r} is not a form of content; the forms are {known}", field="style")
    text_type, picture = _STYLES[style]
    return [{"type": text_type, "text": text}, *(picture(mime_type, data) for mime_type, data in pictures)]


def _anthropic(mime_type: str, data: str) -> dict[str, Any]:
    return {"type": "image", "source": {"type": "base64", "media_type": mime_type, "data": data}}


def _openai(mime_type: str, data: str) -> dict[str, Any]:
    return {"type": "input_image", "image_url": f"data:{mime_type};base64,{data}", "detail": "auto"}


def _langchain(mime_type: str, data: str) -> dict[str, Any]:
    return {"type": "image", "base64": data, "mime_type": mime_type}


def _mcp(mime_type: str, data: str) -> dict[str, Any]:
    return {"type": "image", "data": data, "mimeType": mime_type}


_STYLES: Final[dict[str, tuple[str, Callable[[str, str], dict[str, Any]]]]] = {
    "anthropic": ("text", _anthropic),
    "openai": ("input_text", _openai),
    "langchain": ("text", _langchain),
    "mcp": ("text", _mcp),
}
