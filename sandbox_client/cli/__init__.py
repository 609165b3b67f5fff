"""The `sandbox` command. Each module holds commands of one kind; `output` is the one that writes to the terminal."""

from sandbox_client.cli.main import main

__all__ = ["main"]
