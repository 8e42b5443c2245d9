"""What performance claims rest on: alternatives side by side in one run, as ratios."""
