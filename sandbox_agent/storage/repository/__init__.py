"""The format in the bucket: HEAD, manifests, the lock, the undo journal, and pruning."""
