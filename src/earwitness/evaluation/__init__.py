"""Scoring many inputs and judging scores: what a detector is worth, beside a trivial control."""
