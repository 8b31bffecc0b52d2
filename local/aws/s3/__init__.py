"""The embedded S3: objects on disk, and their events."""
