"""What calls return: frozen values, no I/O."""
