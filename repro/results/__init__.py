"""The one schema of results folders: written and read here, nowhere else. Needs no torch."""
