"""The books' data: which files there are, where they lie on this machine, and how they get there."""
