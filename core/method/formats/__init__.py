"""The files of a finished adapter: each is written for its consumer, and loaded back with that one's own plain calls.

Readers of formats other than peft's drop or misread alpha, so every other format carries B' = s B and alpha = r, which
is scale 1 for all of them, with one rank for all modules.
"""
