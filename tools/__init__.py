"""What makes artefacts that the kit ships; no part of the package."""
