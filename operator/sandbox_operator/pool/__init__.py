"""One SandboxWarmPool: observe, plan, apply; and claiming a pod from it."""
