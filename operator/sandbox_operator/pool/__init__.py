"""Warm pools: keep blank pods ready, and let a session claim one. Start at reconciler.py."""
