"""Does this GPU compute what the kit means? Measured before the first fine-tune on its kind.

`checks` compares single parts with plain float32 computations, `steps` takes optimiser steps in
processes of their own, `record` keeps the outcome and says what follows from it, `run` does it all.
"""
