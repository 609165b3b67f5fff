"""Decides the next steps of a session. Computation only."""
