"""The fields of a record of Audio-FLAN (arXiv 2502.16584, appendix A.3), and the splits that it may name."""

FIELDS = ("instruction", "input", "output", "uuid", "split", "task_type", "domain", "source", "other")
SISTER_FIELDS = ("audio_path", "audio_start", "audio_end")
"""Of the sister format (CMI-Bench, arXiv 2506.12285): the files of the placeholders, and the stretch of them."""
SPLITS = ("train", "dev", "test")
