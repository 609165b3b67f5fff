"""From watch events to keys on a queue; everything that works around kopf is here."""
