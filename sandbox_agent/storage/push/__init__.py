"""Pushes: from the sandbox to storage."""
