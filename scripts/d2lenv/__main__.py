"""``python -m d2lenv``."""

from d2lenv.cli.app import main

main()
