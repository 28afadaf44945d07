"""A large language model behind the planner, the coder and the debugger.

    service        one question to a service that speaks the Messages protocol, and its answer
    conversation   the questions of a run: numbered, paid for, recorded
    planner/coder/debugger   the agent's own interfaces, answered by the service

Nothing here imports the `anthropic` SDK before the first call.
"""
