"""Keeps a session's workspace in object storage. Start at workspace.py; docs/storage.md describes the format."""
