"""Stored workspaces: list, inspect, delete and prune what sessions have left in object storage or in a folder."""
