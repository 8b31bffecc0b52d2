"""Loading: from a file to committed rows, beside its alternatives."""
