"""How was it said? Age, emotion and quality. Nothing is built here yet."""
