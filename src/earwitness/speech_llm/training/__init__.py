"""Teaching a frozen language model to hear (arXiv 2508.07273): a frozen speech encoder, a trained adapter, a frozen
decoder; with recognised emotions in the prompt (explicit), or questions that need words and manner (implicit).

The paper has no official code and its settings are known in part: this room is a reconstruction.
"""
