"""Responses and data versions kept by a worker."""
