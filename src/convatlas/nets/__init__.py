"""The line: one paper, one file, and the table is the code."""
