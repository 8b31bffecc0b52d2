"""The images: their Dockerfiles as they are written, and what came of them when they are built."""
