"""Return True if a prefix is what the lock says, whether two are the same, and who says so."""
