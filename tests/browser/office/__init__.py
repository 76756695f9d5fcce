"""A site whose pages show how far a long import is."""
