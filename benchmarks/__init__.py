"""Measurements side by side with the alternatives: `python -m benchmarks`, or `make bench`."""
