"""The responses and data versions that a worker keeps."""
