"""Kubernetes objects as plain dicts, built from models and settings. Pure."""
