"""A captured program as a graph of `mlx.core` functions: lowered once, saved, run under `mx.compile`.

lower.py      torch.export program -> Program and weights (needs torch)
program.py    Program: nodes as JSON values
operators.py  the table: ATen name -> function, one module for each group of operators
run.py        Program and weights -> a function of arrays (needs mlx and numpy only)
"""
