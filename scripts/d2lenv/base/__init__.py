"""The floor that knows nothing of conda, d2l or pixi: errors, messages, console, files, processes."""
