"""The Kopf operator that turns SandboxSession resources into bound, isolated pods."""
