"""Images in: sources, import, manifest, split, prepared arrays."""
