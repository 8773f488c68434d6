"""Official checkpoints of detectors become model folders (`earwitness model import`)."""
