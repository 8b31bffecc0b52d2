"""The console: pages for a browser with the outcome of each batch, its steps, its failure and the next step."""
