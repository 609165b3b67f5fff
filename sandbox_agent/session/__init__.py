"""The one session that this agent serves: binding, limits, restore at start-up."""
