"""Results and expected results -> verdicts on numbers and on claims. Needs no torch.

`verification.build` makes the data that every report shows; the README says how verdicts come
about.
"""
