"""The embedded Step Functions: executions that outlast the server, and fixes to moto."""
