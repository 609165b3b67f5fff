"""The untrusted process: supervisor.py starts it, link/ receives its calls, and the other folders do the work.

Reading order: `supervisor`, `link.server_connection`, `context_operations`, `execution.context`,
`interpreters.interpreter`, `interpreters.zygote` (its own process), `python` (runs in a forked interpreter). Standard
library only. No credential may ever reach this process: user code has the same user id.
"""
