"""Accesses the disk without ever leaving the workspace's root."""
