"""Results and test sets in the shapes of other tools; see README.md here."""
