"""The user's token for gated hub models, kept for the window as `pareto-studio hub-token` keeps it."""

from __future__ import annotations

from typing import Any

from studio.work.job import Job


def hub_token(_job: Job, token: str) -> dict[str, Any]:
    """Command `hub_token`: keep it in the system keyring, an empty one is forgotten; `{"kept": bool}`.

    Raises:
        EngineError: there is no keyring that keeps it.
    """
    from engines.models.hub_token import keep

    return {"kept": keep(token)}
