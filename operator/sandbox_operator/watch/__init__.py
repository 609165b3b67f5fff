"""Turns watch events into keys on a queue. Everything that works around kopf is here, in kopf_workarounds.py."""
