"""From the sandbox to storage."""
