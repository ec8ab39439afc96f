"""What is there: the machine, the GPU, the environment."""
