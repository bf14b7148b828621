"""``python -m crosscal`` is the same as ``crosscal``."""

from crosscal.cli.main import main

main()
