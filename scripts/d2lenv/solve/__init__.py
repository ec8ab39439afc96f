"""From pixi.toml to pixi.lock, and whether the lock satisfies it."""
