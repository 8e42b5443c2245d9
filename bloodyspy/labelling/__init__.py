"""Labels come back: which answered pictures people look at, when their word counts, and what becomes of it.

The way of a label: `audit` draws answers at random, `choosing` puts them and the doubtful ones into a queue, the
service shows it and writes down what people say (`labels`), `settling` says when they agree, `accuracy` measures the
live answers by the drawn ones alone, and `acceptance` takes what is settled into data/. `suspects` asks the other way
round which labels of data/ the rest of it contradicts, `label_studio` is the way out and back for another tool.

The service imports `audit`, `labels`, `queue` and `settling` only.
"""
