"""Exploration whose odds are known: some places of a slate are drawn, one slot policy a file.

``config`` says what is explored and how much, ``draw`` how a slate is explored, ``completion`` what a place may show so
that the rest of the slate can still be filled.
"""
