"""The one session this agent serves: its gate, limits, and the restore at start-up."""
