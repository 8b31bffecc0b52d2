"""Tests of the Dockerfiles and of the built images."""
