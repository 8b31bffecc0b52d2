"""What a file is and how its rows are read: formats, streams, limits, the report."""
