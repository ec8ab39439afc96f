"""What Python and the system's loader make of the files: interpreters, records, libraries, BLAS, shadows."""
