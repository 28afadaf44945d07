"""What can go wrong between the agent and a language model.

    AgentError
    └── LlmError          the service did not give a usable answer
        ├── LlmRefused    it declined to answer
        ├── LlmBroken     its answer cannot be used: cut or malformed
        │   └── LlmEndless   it had no end
        ├── LlmBusy       it is overloaded or out of reach, after all retries
        └── LlmEnds       nothing can go on by itself
            ├── LlmKeyError    no key, or a key that the service refuses
            ├── LlmUnusable    no such model, or a request that the service will never take
            ├── BudgetSpent    the budget for the service is used up
            └── LlmCancelled   the user gave up what is going on

Texts never hold a key (`agent.llm.key.Secret.hide`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import AgentError

if TYPE_CHECKING:
    from agent.llm.spending import Usage


class LlmError(AgentError):
    """The service did not give a usable answer; `usage` is what that cost, where anything."""

    usage: Usage | None = None


class LlmRefused(LlmError):
    """The service declined to answer."""


class LlmBroken(LlmError):
    """An answer that cannot be used."""


class LlmEndless(LlmBroken):
    """An answer without an end; asked again it would cost as much again."""


class LlmBusy(LlmError):
    """Overloaded or out of reach, after all retries."""


class LlmEnds(LlmError):
    """Nothing can go on by itself."""


class LlmKeyError(LlmEnds):
    """No key, or a key that the service refuses."""


class LlmUnusable(LlmEnds):
    """No such model, or a request that the service will never take."""


class BudgetSpent(LlmEnds):
    """The budget for the service is used up."""


class LlmCancelled(LlmEnds):
    """The user gave up what is going on."""

    def __init__(self) -> None:
        super().__init__("Cancelled.")
