"""Many inputs become a table of scores: what a person may name, trials and cohorts, and the loop that writes."""
