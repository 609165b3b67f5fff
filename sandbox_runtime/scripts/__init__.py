"""Python files that run to their end as `python FILE` does, with pictures and displays kept for the client."""
