"""The few Linux calls that the standard library lacks."""
