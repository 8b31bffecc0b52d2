"""The console: what became of each batch, at which step and why, and what to do now, on pages for a browser."""
