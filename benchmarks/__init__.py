"""How fast the kit is, and against what: `python -m benchmarks [NAME]`.

Each module has `run(small, repeats)`, which gives back rows of a table; `small` is a quick look
that shows no more than that it works.
"""
