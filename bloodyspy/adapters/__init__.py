"""One foreign tool a file, named by its role."""
