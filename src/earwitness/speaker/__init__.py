"""Whose voice is it? Speaker embeddings, comparison and calibration. Higher score = same speaker, everywhere."""
