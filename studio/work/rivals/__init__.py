"""What a user would otherwise run, measured in the same run as the candidates that the search found.

Each rival is a script as the contract of candidates says, in `scripts/`, and
runs in a process of its own, like a candidate.  Adding one is adding its file
there and a line in `table.RIVALS`.
"""
