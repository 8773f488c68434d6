"""A run's model is tested on what its recipe held out, and its card is written."""
