"""The service behind ``GET /rates``: the number of prices per day from A to B, and their average."""
