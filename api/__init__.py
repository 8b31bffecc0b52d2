"""The service that answers ``GET /rates``: how many prices a day from A to B, and their average."""
