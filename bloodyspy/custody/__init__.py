"""The chain of custody: who may answer, since when and why, and whether everything still is what was recorded."""
