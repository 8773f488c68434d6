"""Is it genuine? Detectors of synthetic and converted speech. Higher score = bona fide, everywhere."""
