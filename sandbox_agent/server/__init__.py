"""The edges of the process: authentication, errors, settings, logs, and the health and metrics endpoints."""
