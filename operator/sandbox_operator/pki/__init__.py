"""The operator's certificate authority and its rotation."""
