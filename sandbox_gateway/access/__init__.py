"""Finds out who calls: API keys, Kubernetes bearer tokens and SigV4 signatures."""
