"""PyTorch: its releases and what goes with each, and the wheels on its own host."""
