"""Decides the next step of a session; computation only."""
