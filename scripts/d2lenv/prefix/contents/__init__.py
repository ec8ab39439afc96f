"""Read a prefix from its files; no Python is started.

Prefixes are found half-deleted, truncated, or made for another platform. Nothing here raises for what lies in
the prefix: what cannot be read is listed in :attr:`model.Prefix.unreadable`, and the rest is returned.
"""
