"""The base of every task: errors and exit codes, logs, the database connection, the watchdog."""
