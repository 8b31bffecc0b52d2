"""The rehearsal: from an empty account to a destroyed environment, with a report of what held and how long it took."""
