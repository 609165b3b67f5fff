"""The command `sandbox-operator`."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

from sandbox_operator.app import definitions
from sandbox_operator.app.application import run
from sandbox_operator.app.logs import configure
from sandbox_operator.errors import ApiError, SettingsError
from sandbox_operator.settings import PREFIX, Settings, load_settings


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    variables = "\n".join(f"  {PREFIX}{name.upper()}" for name in Settings.model_fields)
    parser = argparse.ArgumentParser(
        prog="sandbox-operator",
        description="Turns SandboxSession resources into isolated pods.",
        epilog=f"Settings come from the environment:\n{variables}\n  KUBECONFIG (outside a cluster)",
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


if __name__ == "__main__":
    sys.exit(main())
