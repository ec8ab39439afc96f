"""pixi.toml as TOML: its tables as they stand, and the keys that are understood."""
