"""What runs inside the sandbox container (untrusted side): supervisor, interpreters, commands, files.

Reading order: `__main__` -> `supervisor` -> `connection`/`channel` (the link) -> `operations` -> `executions`,
`contexts`, `commands`
-> `interpreters` -> `spawner` -> `zygote` (its own process) -> `python` (what a forked interpreter runs).
Standard library only. Nothing here may hold a credential: user code has the same user id.
"""
