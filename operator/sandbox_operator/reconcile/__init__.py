"""Reconciliation: observe (reads), plan (pure), apply (writes), and the loop that joins them."""
