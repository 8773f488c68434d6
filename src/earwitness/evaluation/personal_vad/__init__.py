"""What a personal VAD is worth: against other ways of choosing frames, over a grid of mixtures, and whether it invents
the voice that it is conditioned on."""
