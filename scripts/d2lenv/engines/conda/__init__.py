"""What the engines that install conda packages are made of."""
