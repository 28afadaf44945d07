"""What can go wrong in the agent.

    AgentError
    ├── RecipeError       a recipe that names an unknown technique or a value outside its range
    ├── BaselineError     the unchanged model could not be run, so nothing can be compared
    ├── KnowledgeError    a file of technique facts that cannot be read
    ├── SandboxError      a candidate's process that could not be started or limited
    │   └── WallsError    nothing limits candidates here, and the user has not agreed to that
    ├── JudgeError        the evaluator itself failed; no candidate is to blame
    ├── ClusterError      workers that cannot be reached or used
    ├── MemoryFileError   what earlier runs learned could not be changed
    └── TableError        a table of measured candidates that cannot be used

The text of each is one sentence for the user: what was wrong with which
input, and what to do.  A candidate that fails is no error: its verdict says so.
"""

from __future__ import annotations


class AgentError(Exception):
    """Base of everything that `agent` raises on purpose."""


class RecipeError(AgentError):
    """A recipe that names an unknown technique or a value outside its range."""


class BaselineError(AgentError):
    """The unchanged model could not be run."""


class KnowledgeError(AgentError):
    """A file of technique facts that cannot be read."""


class SandboxError(AgentError):
    """A candidate's process that could not be started or limited."""


class WallsError(SandboxError):
    """Nothing limits candidates here, and the user has not agreed to that."""

    asks = "without_walls"
    """The argument of a command by which the user agrees."""


class JudgeError(AgentError):
    """The evaluator itself failed."""


class ClusterError(AgentError):
    """Workers that cannot be reached or used."""


class TableError(AgentError):
    """A table of measured candidates that cannot be used."""


class MemoryFileError(AgentError):
    """What earlier runs learned could not be changed."""
