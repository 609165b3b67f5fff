"""One SandboxSession: observe, plan, apply."""
