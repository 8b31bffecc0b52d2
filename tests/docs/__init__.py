"""The documents: links, names of files and of tests, and the table of folders."""
