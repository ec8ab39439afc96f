"""The contents of an environment on disk."""
