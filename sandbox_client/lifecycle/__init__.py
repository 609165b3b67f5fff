"""A session from its creation to its end: what a caller may ask for, and the state that it gets to see."""
