"""The pipeline: its file as GitLab reads it, and its scripts as they run."""
