"""Texts of results for models, terminals and logs: rich forms as text, progress bars in their last state."""
