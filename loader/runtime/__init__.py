"""What every task runs on: errors and exit codes, logs, the database connection, the watchdog."""
