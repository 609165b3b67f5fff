"""Local sessions that outlive the command that created them: `local/NAME`."""
