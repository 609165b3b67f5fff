"""An S3-compatible bucket as an object store."""
