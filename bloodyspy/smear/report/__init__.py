"""What is told of one smear: as data, as tables, and as a page to print."""

from bloodyspy.smear.report.content import SmearReport, Unreadable, checked_specimen
from bloodyspy.smear.report.page import page
from bloodyspy.smear.report.writing import write

__all__ = ["SmearReport", "Unreadable", "checked_specimen", "page", "write"]
