"""Where rows come from: the authors' files or the kit's own world, in one schema per task.

`source` says what a source is; `upstream`, `embedded` and `own` are the three; `fetch` gets the
authors' files, and `filters` picks the rows that a protocol scores and trains on.
"""
