"""Is a prefix exactly what the lock says?"""
