"""Runs the agent: `sandbox-agent serve` in its image, `python -m sandbox_agent serve` elsewhere."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import sys

from sandbox_agent.server.logs import set_up_logs
from sandbox_agent.server.settings import Settings, SettingsError, read_settings

_M_ARENA_MAX = -8
_DESCRIPTION = """\
The agent of a sandbox. It runs code, commands and file operations for clients (gRPC with TLS and a bearer token), and
the operator controls it (gRPC with mutual TLS). It needs a runtime (`sandbox-runtime`) that uses the same link folder.

environment (defaults in brackets):
  SANDBOX_LINK_DIR        folder of the runtime's socket [/run/sandbox]
  SANDBOX_TLS_DIR         folder with tls.crt, tls.key and ca.crt [/etc/sandbox/tls];
                          for a local session: python -m sandbox_agent.server.local_certificates FOLDER SERVER_NAME
  SANDBOX_LISTEN_ADDRESS  [0.0.0.0]
  SANDBOX_GRPC_PORT       port for clients [8443]; 0 is any free port, also for the next two
  SANDBOX_CONTROL_PORT    port for the operator [8444]
  SANDBOX_HEALTH_PORT     port for plain HTTP: /livez, /readyz and /metrics [8081]
  SANDBOX_STOP_SECONDS    time limit of the last push at SIGTERM [0: no last push]
  SANDBOX_READY_FILE      file to write the ports to as JSON once all are open [none]
  SANDBOX_PRELOAD_STORAGE 1, or a JSON object: create the storage client at start-up [at Bind]
  SANDBOX_TRACING         1: send spans by OTLP over gRPC, as OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER,
                          OTEL_TRACES_SAMPLER_ARG and related variables say [off]
  SANDBOX_LOG_LEVEL       debug, info, warning or error [info]
"""


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="sandbox-agent", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser("serve", help="serve until SIGTERM, then save unsaved changes")
    parser.parse_args()
    level = os.environ.get("SANDBOX_LOG_LEVEL") or "info"
    if level not in {"debug", "info", "warning", "error"}:
        parser.error(f"SANDBOX_LOG_LEVEL must be debug, info, warning or error, not {level!r}")
    set_up_logs(level)
    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        parser.error(str(error))
    sys.exit(asyncio.run(_serve(settings)))


def _require_tls13() -> None:
    """Make TLS 1.2 unusable: its only cipher suite needs pre-shared keys, and there are none.

    gRPC for Python has no setting for the minimum version. It reads this variable at import, and its TLS 1.3 suites
    ignore it.
    """
    os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-PSK-AES128-CBC-SHA"


def _limit_arenas() -> None:
    """Let all threads share two heaps. With glibc's default, each keeps what a flood of connections once needed."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


def _start_tracing() -> None:
    from sandbox_proto import tracing  # noqa: PLC0415 - as in _serve

    try:
        tracing.start("sandbox-agent")
    except tracing.TracingError as error:
        # A session works without its trace.
        logging.getLogger(__name__).error("no spans are sent: %s", error)  # noqa: TRY400 - no traceback needed


async def _serve(settings: Settings) -> int:
    _require_tls13()
    _limit_arenas()
    # gRPC must be imported after that. --help does not need it and would have to wait.
    try:
        from sandbox_agent.app import Agent, StartError  # noqa: PLC0415
        from sandbox_proto.connection_limits import raise_descriptor_limit  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        from sandbox_proto.extras import install_command  # noqa: PLC0415 - only if the [agent] extra is missing

        sys.stderr.write(f"sandbox-agent: the package {error.name} is not installed. Run: {install_command('agent')}\n")
        return 1

    raise_descriptor_limit()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if settings.tracing:
        _start_tracing()
    agent = Agent(settings)
    try:
        await agent.start()
        await stop.wait()
        await agent.finish()
    except StartError as error:
        sys.stderr.write(f"sandbox-agent: {error}\n")
        return 1
    finally:
        await agent.stop()
        if settings.tracing:
            from sandbox_proto import tracing  # noqa: PLC0415 - as above

            await asyncio.to_thread(tracing.stop)
    return 0


if __name__ == "__main__":
    main()
