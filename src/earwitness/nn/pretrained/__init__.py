"""Weights of others: found, checked and read without running anything, never shipped."""
