"""Reading files: formats, streams, limits and the validation report."""
