"""Models: opening, describing and reading them."""
