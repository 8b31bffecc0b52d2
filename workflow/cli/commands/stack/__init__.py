"""Commands for the stack itself: start, stop, addresses, definition."""
