"""Each paper's claim as an experiment with control arms. Nothing is built here yet."""
