"""The rehearsal: from an empty account to a destroyed environment, with a report of results and durations."""
