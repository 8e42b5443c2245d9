"""Prefect flows: when to run, what to do next, whom to tell."""
