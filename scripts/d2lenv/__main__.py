"""``python -m d2lenv``."""

from d2lenv.cli.main import main

main()
