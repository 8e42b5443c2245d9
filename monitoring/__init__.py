"""Judging live traffic against the champion's own reference."""
