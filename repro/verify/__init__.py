"""Results and expected results -> verdicts on numbers and on claims. Needs no torch.

`commands` holds what the command line calls, `verification.build` the data that every report
shows; the README says how verdicts come about.
"""
