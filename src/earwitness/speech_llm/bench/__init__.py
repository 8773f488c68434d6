"""CP-Bench's way of testing models that hear (arXiv 2509.16589), for any model and any data in the same form.

`asking` puts the questions, `judging` has the answers rated, `report` makes figures of the kept records and asks no
network. The rubric, the controls and all intervals are ours; no code of the paper was found (a reconstruction).
"""
