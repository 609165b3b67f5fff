"""Cells and commands, kept with their events so that a client can reattach."""
