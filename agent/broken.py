"""Which candidates a debugger may mend."""

from __future__ import annotations

from agent.candidate import Candidate, Verdict
from agent.evaluate.declared import is_plain


def is_broken(candidate: Candidate, verdict: Verdict) -> bool:
    """Whether something of it can be repaired: it failed, or its own code may calculate wrongly.

    A recipe of declared techniques is not broken by losing much or by being slow.  What only the count, the
    clock or the floor object to is a person's to look at: a repair would learn to evade them.
    """
    if verdict.state == "failed" and not verdict.stopped:
        return True
    return is_drifted(verdict) and (bool(candidate.proposal.code) or not is_plain(candidate.script))


def is_drifted(verdict: Verdict) -> bool:
    """Whether it ran and its numbers are wrong: stopped for its loss, or not its recipe's pictures."""
    if verdict.stopped:
        return verdict.loss is not None and verdict.speedup is None
    return verdict.state == "quarantined" and verdict.robustness.get("declared", "ok") != "ok"
