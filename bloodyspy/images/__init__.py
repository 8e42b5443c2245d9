"""One road for a picture: bytes, decode, describe and prepare."""
