"""Parts of the engine of wheels: PyTorch's editions, the state of downloads, the cache of unpacked wheels."""
