"""A small benchmark of our own: exact questions about real recordings, which neither words nor voice alone answer.

`recipe` says what is asked, `building` makes the items, `chance` proves by counting what can be answered without
hearing, and `pairs` are the contradictions: the same words in another manner, the same manner with other words.
"""
