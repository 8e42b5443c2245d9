"""``python -m bloodyspy.cli``: the command, where it is not on the path."""

from bloodyspy.cli import main

main()
