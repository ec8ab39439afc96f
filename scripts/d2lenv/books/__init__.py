"""The books, run as a whole: found, classed, kept, and shown."""
