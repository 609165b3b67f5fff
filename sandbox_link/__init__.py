"""The link between agent and runtime: frames on one unix socket. Standard library only; see docs/link.md."""
