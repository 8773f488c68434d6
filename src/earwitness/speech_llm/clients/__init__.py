"""Clients of models that answer: `interface` is the contract."""
