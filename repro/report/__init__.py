"""Results for readers: terminal, HTML, Markdown, JUnit, JSON and CSV. Needs no torch."""
