"""The types that every part of the service shares; they stand on nothing."""
