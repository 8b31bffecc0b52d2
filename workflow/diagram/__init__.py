"""Pictures of the state machine and of its executions: Mermaid and SVG."""
