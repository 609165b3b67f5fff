"""A channel whose methods follow it to another one: a session that was woken answers elsewhere. No I/O of its own.

gRPC's stubs bind each method to the channel they were made with. A call that is repeated after the session moved has
to go by the new one, though its caller holds the method of the old one.
"""

from __future__ import annotations

from typing import Any


class MovableChannel:
    """Stands in for a channel, of gRPC's async or of its blocking kind, where stubs are made.

    Attributes:
        current: The channel that calls go by now.
    """

    def __init__(self, channel: Any) -> None:
        self.current = channel
        self._methods: list[_Method] = []

    def move(self, channel: Any) -> None:
        """Have the next call of each method go by another channel; calls under way stay where they are."""
        for method in self._methods:
            method.bind(channel)
        self.current = channel

    def unary_unary(self, *args: Any, **kwargs: Any) -> _Method:
        """As gRPC's."""
        return self._add(_Method("unary_unary", args, kwargs))

    def unary_stream(self, *args: Any, **kwargs: Any) -> _Method:
        """As gRPC's."""
        return self._add(_Method("unary_stream", args, kwargs))

    def stream_unary(self, *args: Any, **kwargs: Any) -> _Method:
        """As gRPC's."""
        return self._add(_Method("stream_unary", args, kwargs))

    def stream_stream(self, *args: Any, **kwargs: Any) -> _Method:
        """As gRPC's."""
        return self._add(_Method("stream_stream", args, kwargs))

    def _add(self, method: _Method) -> _Method:
        method.bind(self.current)
        self._methods.append(method)
        return method


class _Method:
    __slots__ = ("_args", "_call", "_kind", "_kwargs", "_method")

    def __init__(self, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._kind = kind
        # gRPC's own methods have it too, and tracing reads it there.
        self._method = args[0]
        self._args = args
        self._kwargs = kwargs
        self._call: Any = None

    def bind(self, channel: Any) -> None:
        self._call = getattr(channel, self._kind)(*self._args, **self._kwargs)

    def __call__(self, request: Any, *, metadata: Any = None, timeout: float | None = None) -> Any:
        return self._call(request, metadata=metadata, timeout=timeout)
