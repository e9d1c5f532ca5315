"""Results and expected results -> verdicts on numbers and on claims. Needs no torch."""
