"""DiffBench: tasks of five levels, agents that solve them, a pass rate.

    tasks    the generator: L1 plain pipeline, L2 one technique, L3 combinations, L4 speed-up, L5 latency
    targets  what L4 and L5 ask for, from what a search really measured
    solve    the agents: built-in, one-shot, llm
    score    passed or not, by which failure; pass rate, achievement rate

After arXiv 2601.03178, whose benchmark was never published as code: levels,
counts and the three-stage evaluation are its, tasks and figures are ours.
"""
