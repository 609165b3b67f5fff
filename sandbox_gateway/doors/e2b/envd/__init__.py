"""E2B's agent in a sandbox: processes, the filesystem and files over HTTP."""
