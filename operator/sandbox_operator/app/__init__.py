"""The process: wiring, settings, health, metrics, logs."""
