"""What is told of one smear: as data, as tables, and as a page to print."""

from bloodyspy.smear.report.content import SmearReport, Unreadable
from bloodyspy.smear.report.page import page
from bloodyspy.smear.report.writing import write

__all__ = ["SmearReport", "Unreadable", "page", "write"]
