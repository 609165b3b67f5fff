"""`sandbox doctor`: checks a cluster from the caller's place, and says what to change.

In a pod it needs neither click nor the `kubernetes` package, so the operator's image has it for `helm test`.
"""
