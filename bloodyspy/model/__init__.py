"""A model is a directory: assembled once, loaded by one loader."""
