"""BloodySpy keeps a blood-cell image classifier good over its whole life."""

from bloodyspy.telemetry import switch_off

switch_off()  # the one thing done at import: the tools read their switches when they are imported themselves

__version__ = "0.1.0"
