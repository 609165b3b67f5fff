"""Restores: from storage to the sandbox, including changes that other writers made."""
