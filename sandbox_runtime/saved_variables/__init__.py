"""Variables that survive a suspend."""
