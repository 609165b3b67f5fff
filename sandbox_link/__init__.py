"""The frames that agent and runtime exchange over a unix socket (docs/link.md). Standard library only."""
