"""Keeps a session's workspace in object storage. Start at workspace.py; docs/pod-contract.md describes the format."""
