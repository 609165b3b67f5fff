"""E2B's code interpreter: cells and contexts."""
