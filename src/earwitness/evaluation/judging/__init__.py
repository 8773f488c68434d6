"""Scores become figures: joined with labels, resampled by the right unit, beside a trivial control, as plots."""
