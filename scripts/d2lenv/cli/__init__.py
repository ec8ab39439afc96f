"""The commands: options and exit codes, nothing else."""
