"""`sandbox-agent serve`: the agent's process."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys

from sandbox_agent.server.logs import set_up_logs
from sandbox_agent.server.settings import Settings, SettingsError, read_settings

_DESCRIPTION = """\
The agent of a sandbox: runs code, commands and file operations for clients (gRPC, TLS, bearer token), under the
command of the operator (gRPC, mutual TLS). It needs a runtime (`sandbox-runtime`) on the same link folder.

environment (defaults in brackets):
  SANDBOX_LINK_DIR        folder of the runtime's socket [/run/sandbox]
  SANDBOX_TLS_DIR         folder with tls.crt, tls.key and ca.crt [/etc/sandbox/tls];
                          for a local session: python -m sandbox_agent.server.local_certificates FOLDER SERVER_NAME
  SANDBOX_LISTEN_ADDRESS  [0.0.0.0]
  SANDBOX_GRPC_PORT       clients [8443]; 0: any free port, as for the next two
  SANDBOX_CONTROL_PORT    the operator [8444]
  SANDBOX_HEALTH_PORT     plain HTTP, /livez and /readyz [8081]
  SANDBOX_STOP_SECONDS    what a last push may take at SIGTERM [0: there is none]
  SANDBOX_READY_FILE      where to write the ports as JSON once all are open [nowhere]
  SANDBOX_TRACING         1: send spans by OTLP over gRPC; where to and how many say OTEL_EXPORTER_OTLP_ENDPOINT,
                          OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG and the like [off]
  SANDBOX_LOG_LEVEL       debug, info, warning or error [info]
"""


def main() -> None:
    """Entry point of the command."""
    parser = argparse.ArgumentParser(
        prog="sandbox-agent", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser("serve", help="serve until SIGTERM; then save what is not saved yet")
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
    """Leave TLS 1.2 without a cipher suite that could be agreed on: pre-shared keys, and there are none.

    gRPC for Python has no setting for the lowest version. It reads this one when it is imported, and its TLS 1.3 suites
    are not affected by it.
    """
    os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-PSK-AES128-CBC-SHA"


def _start_tracing() -> None:
    from sandbox_proto import tracing  # noqa: PLC0415 - as in _serve

    try:
        tracing.start("sandbox-agent")
    except tracing.TracingError as error:
        # A session is worth more than its trace.
        logging.getLogger(__name__).error("no spans are sent: %s", error)  # noqa: TRY400 - the message is all


async def _serve(settings: Settings) -> int:
    _require_tls13()
    # After that, and not for --help, which would wait for it.
    from sandbox_agent.server.app import Agent, StartError  # noqa: PLC0415

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
