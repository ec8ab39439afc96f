"""The commands of a reader: the books, their data, a lab, and help where something fails."""
