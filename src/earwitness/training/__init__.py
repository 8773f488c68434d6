"""How any network is trained, calibrated and kept: recipes, the loop with exact resume, model folders."""
