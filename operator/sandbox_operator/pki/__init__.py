"""The operator's certificate authority, the certificates that it signs, and its rotation."""
