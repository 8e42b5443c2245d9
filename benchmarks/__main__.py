"""``make bench``: each benchmark in turn; a name after ``python -m benchmarks`` runs that one."""

import importlib
import sys

BENCHMARKS = ("road", "input_pipeline")

for name in sys.argv[1:] or BENCHMARKS:
    importlib.import_module(f"benchmarks.{name}").main()
