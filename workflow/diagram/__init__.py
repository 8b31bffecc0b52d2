"""Graphs of the state machine and of its executions, as Mermaid and SVG."""
