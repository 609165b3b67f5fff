"""The command `sandbox-operator`."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

from sandbox_operator.errors import ApiError, SettingsError
from sandbox_proto.extras import install_command


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="sandbox-operator",
        description="Turns SandboxSession resources into isolated pods.",
        epilog=f"Settings come from the environment:\n{_describe_variables()}\n  KUBECONFIG (outside a cluster)",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="run the operator until SIGTERM")
    commands.add_parser("apply-crds", help="bring the cluster's CustomResourceDefinitions to this version, and exit")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the process's exit code."""
    command = build_parser().parse_args(arguments).command
    try:
        # Imported late, because --help also works without the [operator] extra.
        from sandbox_operator.app import definitions  # noqa: PLC0415
        from sandbox_operator.app.application import run  # noqa: PLC0415
        from sandbox_operator.app.logs import configure  # noqa: PLC0415
        from sandbox_operator.settings import load_settings  # noqa: PLC0415
    except ModuleNotFoundError as error:
        sys.stderr.write(f"sandbox-operator: {_name_missing(error)}\n")
        return 1
    try:
        if command == "apply-crds":
            lines = asyncio.run(definitions.apply_from(os.environ))
            sys.stdout.writelines(f"{line}\n" for line in lines)
            return 0
        settings = load_settings(os.environ)
        configure(settings.log_level)
        return asyncio.run(run(settings))
    except (SettingsError, ApiError, ValueError) as error:
        sys.stderr.write(f"sandbox-operator: {error}\n")
        return 1


def _describe_variables() -> str:
    try:
        from sandbox_operator.settings import PREFIX, Settings  # noqa: PLC0415 - see main
    except ModuleNotFoundError as error:
        return f"  SANDBOX_OPERATOR_* ({_name_missing(error)})"
    return "\n".join(f"  {PREFIX}{name.upper()}" for name in Settings.model_fields)


def _name_missing(error: ModuleNotFoundError) -> str:
    return f"the package {error.name} is not installed. Run: {install_command('operator')}"


if __name__ == "__main__":
    sys.exit(main())
