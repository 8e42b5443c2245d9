"""Labels of live pictures (a stand-in, to be replaced)."""
