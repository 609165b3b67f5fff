"""Background processes, followed across lost links."""
