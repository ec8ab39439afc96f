"""``python -m d2lenv``."""

from d2lenv.cli import main

main()
