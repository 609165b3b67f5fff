"""`sandbox doctor`: checks a cluster from the caller's place, and says what to change.

It needs neither click nor the `kubernetes` package when it runs in a pod, so the operator's image has it for `helm test`.
"""
