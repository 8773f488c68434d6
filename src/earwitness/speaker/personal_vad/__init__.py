"""SVVAD (arXiv 2305.19581): voice activity of one person, for verification; mostly a reconstruction.

    voice = verifier.enrol_files(["claimed.wav"])            # verifier = PersonalVerifier.load("runs/svvad/model")
    heard = verifier.hear_file("call.wav", voice[None])      # a score, and where this voice is likely heard

A network G, conditioned on an enrolled voice, weighs the frames of a recording before a frozen verifier S hears them.
Known of the paper are its abstract and its figure: the order of the blocks, the two heads, and that it is trained
through S without labels of frames by "triplet-like losses". Sizes, equations, margins, mixtures and training are ours.

    verifier.py    S, and which front-ends can be read      backbone.py, transform.py   G, and its fixed transform
    losses.py      the terms                                task.py, examples.py        batches of known mixtures
    training.py    from a recipe to a folder                hearing.py                  a score per pair, long files
"""
