"""A notebook, executed: in a fork of a warm process or in a kernel, within limits."""
