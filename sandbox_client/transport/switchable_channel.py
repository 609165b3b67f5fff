"""Lets the stubs of one channel switch to another one, because a resumed session has another address. No I/O.

gRPC's stubs bind each method to one channel. If a session moves while a call is being repeated, the caller still holds
the method of the old channel. The call has to use the new one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class SwitchableChannel:
    """Stand-in for one of gRPC's channels, asynchronous or blocking, that stubs are created with.

    Attributes:
        current: The channel that calls use.
    """

    def __init__(self, channel: Any) -> None:
        self.current = channel
        self._methods: list[_Method] = []

    def create_stub(self, factory: Callable[..., Any]) -> Any:
        """Create a generated stub. The generated code has no types."""
        return factory(self)

    def switch(self, channel: Any) -> None:
        """Send later calls over another channel. Running calls stay on theirs."""
        for method in self._methods:
            method.bind(channel)
        self.current = channel

    def unary_unary(self, *args: Any, **kwargs: Any) -> _Method:
        """Create a method, as gRPC's channels do."""
        return self._add(_Method("unary_unary", args, kwargs))

    def unary_stream(self, *args: Any, **kwargs: Any) -> _Method:
        """Create a method, as gRPC's channels do."""
        return self._add(_Method("unary_stream", args, kwargs))

    def stream_unary(self, *args: Any, **kwargs: Any) -> _Method:
        """Create a method, as gRPC's channels do."""
        return self._add(_Method("stream_unary", args, kwargs))

    def stream_stream(self, *args: Any, **kwargs: Any) -> _Method:
        """Create a method, as gRPC's channels do."""
        return self._add(_Method("stream_stream", args, kwargs))

    def _add(self, method: _Method) -> _Method:
        method.bind(self.current)
        self._methods.append(method)
        return method


class _Method:
    """A method of a stub, bound to the current channel."""

    __slots__ = ("_args", "_call", "_kind", "_kwargs", "_method")

    def __init__(self, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._kind = kind
        # Tracing reads the path here, as in gRPC's own methods.
        self._method = args[0]
        self._args = args
        self._kwargs = kwargs
        self._call: Any = None

    def bind(self, channel: Any) -> None:
        self._call = getattr(channel, self._kind)(*self._args, **self._kwargs)

    def __call__(self, request: Any, *, metadata: Any = None, timeout: float | None = None) -> Any:
        return self._call(request, metadata=metadata, timeout=timeout)
