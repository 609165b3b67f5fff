"""From storage to the sandbox, including changes that others made."""
