r"""Matches glob patterns against relative paths, in bounded steps so that no pattern takes forever. Pure: no I/O.

    *       any characters of one component        **      any number of components, even none
    ?       one character                          [a-z]   one of them; [!a-z] one that is not
    \x      the character x itself

A pattern with a slash is matched from the start of the path; one without, against each component. A match includes
everything below it. A slash at either end is ignored: `/build/` means `build`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_PATTERN: Final = 4096
"""Largest number of characters in a pattern."""


@dataclass(frozen=True, slots=True)
class _Set:
    """A set of characters, `[...]`."""

    ranges: tuple[tuple[str, str], ...]
    negated: bool

    def has(self, character: str) -> bool:
        return any(low <= character <= high for low, high in self.ranges) is not self.negated


@dataclass(frozen=True, slots=True)
class _Wild:
    """A wildcard: `*` if `many`, else `?`."""

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
        """Each with its literal suffix: most names lack the suffix and need no matching."""
        self._paths: list[list[_Component]] = []
        for pattern in patterns:
            self._add(pattern)

    def matches(self, path: str) -> bool:
        """Return True if a pattern matches the path or one of its parent folders."""
        names = path.split("/")
        return any(self._match(names[:end]) for end in range(1, len(names) + 1))

    def matches_itself(self, path: str) -> bool:
        """Return True if a pattern matches the path. Assumes that none matches its parent folders."""
        return self._match_name(path[path.rfind("/") + 1 :]) or (
            bool(self._paths) and self._match_path(path.split("/"))
        )

    def __bool__(self) -> bool:
        return bool(self._names or self._components or self._paths)

    def _add(self, pattern: str) -> None:
        if len(pattern) > MAX_PATTERN:
            raise ValueError(f"a pattern has more than {MAX_PATTERN} characters: give a shorter one")
        names = [name for name in pattern.split("/") if name not in ("", ".")]
        if not names:
            raise ValueError("a pattern is empty: leave it out, or give one such as *.py")
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
        for tokens, end in self._components:  # noqa: SIM110 - called for every name of a scan; any() takes three times as long
            if name.endswith(end) and match_component(tokens, name):
                return True
        return False

    def _match_path(self, names: Sequence[str]) -> bool:
        return any(_match_path(components, names) for components in self._paths)


def _literal_end(tokens: Sequence[_Token]) -> str:
    """Return the literal suffix of every name that the tokens match."""
    end = ""
    for token in reversed(tokens):
        if not isinstance(token, str):
            break
        end = token + end
    return end


def tokenize(pattern: str) -> tuple[_Token, ...]:
    """Split one component's pattern into tokens. An unclosed `[` and a trailing backslash stand for themselves."""
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
    """Return True if a name matches. Takes at most len(tokens) * len(name) steps: only the last `*` backtracks."""
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
    """Match a whole path in the same way: only the last `**` backtracks."""
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
    """Return the position of a set's `]`, or 0 if it has none. A `]` that comes first is a member."""
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
