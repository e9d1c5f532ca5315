"""The words of an experiment, as open, frozen, validated values; imports nothing of the kit.

A `Task` says what a model must produce, a `Dataset` and a `TrainingSet` which rows, a
`PromptFormat` how a row is shown, `Demonstrations` what stands before it, a `Variant` how a model
was fine-tuned, a `Cell` is one evaluation of one variant, a `Protocol` says how exactly the paper
is followed. A `Study` gives the cells, the claims and the panels, and resolves the names of a cell.
"""
