"""What can be wrong, one module for each family."""
