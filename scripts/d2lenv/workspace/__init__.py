"""pixi.toml, pixi.lock and what else describes the environments."""
