"""Moves files and whole folders between this machine and a sandbox."""
