"""Where generated code runs: a process with limits, and the nursery it comes from."""

from __future__ import annotations

from agent.sandbox.answer import Answer, CandidateFailure, Counted
from agent.sandbox.limits import ISOLATION, Isolation, Limits
from agent.sandbox.nursery import Nursery
from agent.sandbox.process import Process

__all__ = ["ISOLATION", "Answer", "CandidateFailure", "Counted", "Isolation", "Limits", "Nursery", "Process"]
