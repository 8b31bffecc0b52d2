"""Reads while batches commit, are merged and move."""
