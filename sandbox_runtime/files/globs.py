r"""Glob patterns on relative paths, matched in bounded steps, so that no pattern is a bomb. Pure: no I/O.

    *       any characters of one component        **      any number of components, none included
    ?       one character                          [a-z]   one of them; [!a-z] one that is not
    \x      the character x itself

A pattern with a slash is matched from the start of the path, one without against each component. What a pattern
matches is matched with everything below it. A slash at either end means nothing: `/build/` is as `build`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_PATTERN: Final = 4096
"""Characters of a pattern at most."""


@dataclass(frozen=True, slots=True)
class _Set:
    """One `[...]`."""

    ranges: tuple[tuple[str, str], ...]
    negated: bool

    def has(self, character: str) -> bool:
        return any(low <= character <= high for low, high in self.ranges) is not self.negated


@dataclass(frozen=True, slots=True)
class _Wild:
    """`*` (many) or `?`."""

    many: bool


_Token = str | _Set | _Wild
_STAR: Final = _Wild(many=True)
_ANY: Final = _Wild(many=False)
_Component = tuple[_Token, ...] | None
"""Tokens of a component; None is `**`."""


class Globs:
    """A set of patterns.

    Raises:
        ValueError: A pattern is too long or empty.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self._names: set[str] = set()
        self._components: list[tuple[tuple[_Token, ...], str]] = []
        """With the literal end of each: most names do not have it, and need no matching."""
        self._paths: list[list[_Component]] = []
        for pattern in patterns:
            self._add(pattern)

    def matches(self, path: str) -> bool:
        """Whether a pattern matches the path or a folder that it lies in."""
        names = path.split("/")
        return any(self._match(names[:end]) for end in range(1, len(names) + 1))

    def matches_itself(self, path: str) -> bool:
        """Whether a pattern matches the path, where the folders that it lies in are known not to match."""
        return self._match_name(path[path.rfind("/") + 1 :]) or (
            bool(self._paths) and self._match_path(path.split("/"))
        )

    def __bool__(self) -> bool:
        return bool(self._names or self._components or self._paths)

    def _add(self, pattern: str) -> None:
        if len(pattern) > MAX_PATTERN:
            raise ValueError(f"a pattern has more than {MAX_PATTERN} characters")
        names = [name for name in pattern.split("/") if name not in ("", ".")]
        if not names:
            raise ValueError("a pattern is empty")
        if len(names) > 1 or names == ["**"]:
            self._paths.append([None if name == "**" else tokenize(name) for name in names])
            return
        tokens = tokenize(names[0])
        if all(isinstance(token, str) for token in tokens):
            self._names.add("".join(str(token) for token in tokens))
        else:
            self._components.append((tokens, _literal_end(tokens)))

    def _match(self, names: Sequence[str]) -> bool:
        return self._match_name(names[-1]) or self._match_path(names)

    def _match_name(self, name: str) -> bool:
        if name in self._names:
            return True
        for tokens, end in self._components:  # noqa: SIM110 - a scan asks for every name: any() takes three times as long
            if name.endswith(end) and match_component(tokens, name):
                return True
        return False

    def _match_path(self, names: Sequence[str]) -> bool:
        return any(_match_path(components, names) for components in self._paths)


def _literal_end(tokens: Sequence[_Token]) -> str:
    """What every name that these match ends with."""
    end = ""
    for token in reversed(tokens):
        if not isinstance(token, str):
            break
        end = token + end
    return end


def tokenize(pattern: str) -> tuple[_Token, ...]:
    """The tokens of one component's pattern; an unclosed `[` and a last backslash stand for themselves."""
    tokens: list[_Token] = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "*":
            if tokens[-1:] != [_STAR]:
                tokens.append(_STAR)
        elif character == "?":
            tokens.append(_ANY)
        elif character == "[" and (end := _end_of_set(pattern, position)):
            tokens.append(_parse_set(pattern[position:end]))
            position = end + 1
        elif character == "\\" and position < len(pattern):
            tokens.append(pattern[position])
            position += 1
        else:
            tokens.append(character)
    return tuple(tokens)


def match_component(tokens: Sequence[_Token], name: str) -> bool:
    """Whether a name matches, in at most len(tokens) * len(name) steps: only the last `*` is ever tried again."""
    token = position = 0
    star = retry = -1
    while position < len(name):
        if token < len(tokens) and tokens[token] == _STAR:
            star, retry = token, position
            token += 1
        elif token < len(tokens) and _match_one(tokens[token], name[position]):
            token += 1
            position += 1
        elif star >= 0:
            retry += 1
            token, position = star + 1, retry
        else:
            return False
    return all(rest == _STAR for rest in tokens[token:])


def _match_one(token: _Token, character: str) -> bool:
    if isinstance(token, str):
        return token == character
    return token.has(character) if isinstance(token, _Set) else True


def _match_path(components: Sequence[_Component], names: Sequence[str]) -> bool:
    """The same for components: the last `**` is the only one that is tried again."""
    component = position = 0
    star = retry = -1
    while position < len(names):
        if component < len(components):
            tokens = components[component]
            if tokens is None:
                star, retry = component, position
                component += 1
                continue
            if match_component(tokens, names[position]):
                component += 1
                position += 1
                continue
        if star < 0:
            return False
        retry += 1
        component, position = star + 1, retry
    return all(rest is None for rest in components[component:])


def _end_of_set(pattern: str, start: int) -> int:
    """Where the `]` of a set is, 0 for nowhere; a `]` that comes first is a member."""
    first = start + 1 if pattern[start : start + 1] in ("!", "^") else start
    return max(pattern.find("]", first + 1), 0)


def _parse_set(body: str) -> _Set:
    negated = body[0] in "!^"
    members = body[1:] if negated else body
    ranges: list[tuple[str, str]] = []
    position = 0
    while position < len(members):
        if position + 2 < len(members) and members[position + 1] == "-":
            ranges.append((members[position], members[position + 2]))
            position += 3
        else:
            ranges.append((members[position], members[position]))
            position += 1
    return _Set(tuple(ranges), negated)
