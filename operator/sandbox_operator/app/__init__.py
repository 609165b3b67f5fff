"""The operator's process: it builds all parts, elects a leader, and serves health checks and metrics."""
