"""The `sandbox` command: one module per command or group of commands, and thus more than twelve modules."""

from sandbox_client.cli.main import main

__all__ = ["main"]
