"""Results for readers: terminal tables. Needs no torch."""
