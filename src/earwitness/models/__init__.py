"""Data only: the models that ship with the package, each a folder with its card."""
