"""One module for each format that another tool reads."""
