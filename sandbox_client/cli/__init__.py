"""The `sandbox` command: one module per command or group of commands, and thus more than twelve modules."""

import signal as _signal
import threading as _threading

_is_main = _threading.current_thread() is _threading.main_thread()
if _is_main:
    # Until the command handles Ctrl-C, it ends the program at once instead of with a traceback of the imports.
    _handler = _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
try:
    from sandbox_client.cli.main import main
finally:
    if _is_main:
        _signal.signal(_signal.SIGINT, _handler)

__all__ = ["main"]
