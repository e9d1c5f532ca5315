"""From steps to artefacts in the store: what a worker does, and in which order."""
