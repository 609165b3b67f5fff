"""E2B's control plane: sandboxes, their lists and their lives."""
