"""Tests of the pipeline's file and scripts, and of the checkout's layout."""
