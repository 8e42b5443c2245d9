"""Images come in, are listed, and are divided into parts."""
