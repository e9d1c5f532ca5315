"""The paper as data: tasks, data sets, prompts, variants, cells, figures, protocols.

Imports nothing else of the kit, and needs nothing but the standard library.
"""
