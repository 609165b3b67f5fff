"""Reconciles one SandboxSession: observe, plan, apply."""
