"""What is on disk in an environment."""
