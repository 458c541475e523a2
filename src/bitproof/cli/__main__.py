"""`python -m bitproof.cli`."""

from bitproof.cli import main

main()
