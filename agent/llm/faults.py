"""Every way in which a request can fail, sorted: try again, give up, or a defect of ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from agent.llm.errors import LlmBroken, LlmBusy, LlmEndless, LlmError, LlmKeyError, LlmUnusable

_PASSING: Final = frozenset({"overloaded_error", "rate_limit_error", "api_error", "timeout_error"})
"""Kinds of error that the service itself calls passing, in the middle of a stream too."""
_LONGEST: Final = 300


@dataclass(frozen=True, slots=True)
class Fault:
    """`text` is a sentence without its full stop; `wait`: seconds that the service asks for."""

    kind: type[LlmError]
    text: str
    again: bool
    wait: float | None = None

    def error(self, hide: Callable[[str], str]) -> LlmError:
        return self.kind(hide(f"{self.text}."))


def fault_of(error: Exception, url: str, model: str) -> Fault | None:
    """What an exception means; None: it is no fault of the service.  The SDK is loaded by then."""
    if isinstance(error, LlmBroken):
        return Fault(type(error), str(error), again=not isinstance(error, LlmEndless))
    if isinstance(error, LlmError):
        return None
    import anthropic
    import httpx2

    if isinstance(error, anthropic.APIStatusError):
        return _status(error, url, model)
    if isinstance(error, anthropic.APITimeoutError | httpx2.TimeoutException):
        return Fault(LlmBusy, f"The service at {url} did not answer in time", again=True)
    if isinstance(error, anthropic.APIConnectionError | httpx2.TransportError):
        cause = error.__cause__ or error
        return Fault(LlmBusy, f"The service at {url} cannot be reached ({_short(str(cause))})", again=True)
    if isinstance(error, anthropic.APIResponseValidationError | ValueError | httpx2.DecodingError):
        # The SDK parses each event of a stream as JSON.
        return Fault(
            LlmBroken, f"The service at {url} sent what is no JSON ({_short(str(error))})", again=True
        )
    if isinstance(error, anthropic.AnthropicError | httpx2.HTTPError):
        return Fault(LlmBusy, f"The service at {url} cannot be used ({_short(str(error))})", again=False)
    return None


def _status(error: Any, url: str, model: str) -> Fault:
    status, said = int(error.status_code), _said(error)
    kind = str(getattr(error, "type", None) or "")
    if kind in _PASSING or status in (408, 409, 429) or status >= 500:
        what = {
            429: "takes no more requests for the moment",
            529: "is overloaded",
        }.get(status, f"has a passing fault ({said})")
        if kind == "overloaded_error":
            what = "is overloaded"
        return Fault(LlmBusy, f"The service at {url} {what}", again=True, wait=_asked(error))
    if status in (401, 403):
        return Fault(
            LlmKeyError,
            f"The service at {url} refuses the key ({said}); give another one by ANTHROPIC_API_KEY "
            "or the system keyring",
            again=False,
        )
    if status == 404:
        return Fault(
            LlmUnusable,
            f"The service at {url} knows no such address or model {model} ({said}); choose a model of its "
            "list with --llm-model, or another address with --llm-url",
            again=False,
        )
    if 300 <= status < 400:
        return Fault(
            LlmUnusable,
            f"The service at {url} sends requests on to another address, which is not followed because of "
            "the key; give its own address with --llm-url",
            again=False,
        )
    return Fault(
        LlmUnusable, f"The service at {url} does not take the request ({status}: {said})", again=False
    )


def _asked(error: Any) -> float | None:
    """Seconds that the service wants to be left alone, from its `retry-after` head."""
    try:
        return max(0.0, float(error.response.headers.get("retry-after")))
    except (TypeError, ValueError, AttributeError):
        return None


def _said(error: Any) -> str:
    """The service's own words."""
    body = getattr(error, "body", None)
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        return _short(str(body["error"].get("message") or body["error"].get("type") or "no reason given"))
    return _short(str(getattr(error, "message", "") or error))


def _short(text: str) -> str:
    line = " ".join(text.split()).rstrip(".")
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
