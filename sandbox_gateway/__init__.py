"""The gateway: one address for every session, for clients of several protocols.

`backends/` reaches the sessions, on this machine or on Kubernetes. `access/` finds out who calls and what they may do.
Each folder of `doors/` speaks one protocol. A door can be deleted without touching another.
"""
