"""Everything that a machine without a network needs, as plain files in one folder."""
