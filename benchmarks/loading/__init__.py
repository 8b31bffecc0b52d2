"""Loading: from a file to committed rows, compared with the alternatives."""
