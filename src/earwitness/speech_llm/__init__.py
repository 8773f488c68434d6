"""Language models that hear. Nothing is built here yet."""
