"""The process: WSGI application, fast path, Granian, logs and metrics."""
