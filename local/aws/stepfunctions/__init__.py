"""The embedded Step Functions: executions that survive the server, and patches of moto."""
