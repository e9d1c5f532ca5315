"""Where rows come from: the authors' files or the kit's own world, in one schema per task.

`source` says what a source is, `upstream` and `embedded` are the two, `fetch` gets the authors'
files, and `filters` picks the rows that a protocol scores and trains on.
"""
