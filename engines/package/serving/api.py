"""Paths and bodies.

POST /v1/images/generations   as OpenAI's, with seed, deadline_ms and route besides; the answer says
                              light or heavy, the score and the times
GET  /v1/models               with the variants that its engines run, as /v1/plan and /health
GET  /v1/threshold            PUT {"threshold": 0.4} holds it there, {"threshold": null} lets the plan decide
GET  /v1/plan                 settings and measured load; PUT changes settings
GET  /health                  200 when it can draw, 503 with the reason when not
GET  /metrics                 Prometheus
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from engines.package.serving import metrics as exposition
from engines.package.serving.http import Request, Response
from engines.package.serving.metrics import Metrics
from engines.package.serving.values import ROUTES, Answer, Ask, Load, Refusal, Route, Settings, stopping

LONGEST_PROMPT: Final = 4000
"""Characters."""
MOST_PICTURES: Final = 16
"""Of one request."""
LONGEST_DEADLINE: Final = 3600.0
LARGEST_SEED: Final = 2**63 - 1
QUALITY: Final[Mapping[str, Route]] = {"auto": "auto", "low": "light", "high": "heavy"}
_KNOWN: Final = frozenset(
    (
        "prompt",
        "n",
        "size",
        "response_format",
        "output_format",
        "model",
        "quality",
        "user",
        "seed",
        "deadline_ms",
        "route",
    )
)


class Service(Protocol):
    """What answers: the server's router, or a cluster's."""

    settings: Settings

    async def answer(self, ask: Ask) -> Answer: ...

    def load(self) -> Load: ...

    def apply(self, settings: Settings) -> None: ...


@dataclass(frozen=True, slots=True)
class Model:
    """What the package is, as clients see it."""

    name: str
    id: str
    created: int
    width: int
    height: int
    cascade: bool


class Api:
    """Answers requests; every error is one JSON body with one sentence.

    Args:
        room: whether this many pictures may be asked for now, else the seconds to wait.
        trouble: why nothing can be drawn; empty when it can.
        engines: by model, which variants run and why none before them (`Running.to_json`).
        deadline: seconds that a request has where it says nothing.
    """

    def __init__(
        self,
        service: Service,
        model: Model,
        metrics: Metrics,
        *,
        room: Callable[[int], Refusal | None] = lambda _count: None,
        trouble: Callable[[], str] = lambda: "",
        engines: Callable[[], Mapping[str, Any]] = dict,
        deadline: float = 60.0,
    ) -> None:
        self.service, self.model, self.metrics, self.deadline = service, model, metrics, deadline
        self.stopping = False
        self.held = False
        """The threshold was set by hand: a plan changes everything else."""
        self.note = ""
        """What the controller said last."""
        self._room, self._trouble, self._engines = room, trouble, engines
        self._busy = 0
        metrics.counter("requests_total", "HTTP requests, by path and status")
        metrics.gauge("requests_in_flight", "HTTP requests being answered", lambda: float(self._busy))
        self._routes: dict[str, dict[str, Callable[[Request], Awaitable[Response]]]] = {
            "/v1/images/generations": {"POST": self._generate},
            "/v1/models": {"GET": self._models},
            "/v1/threshold": {"GET": self._get_threshold, "PUT": self._put_threshold},
            "/v1/plan": {"GET": self._get_plan, "PUT": self._put_plan},
            "/health": {"GET": self._health},
            "/metrics": {"GET": self._metrics},
        }

    async def __call__(self, request: Request) -> Response:
        """Never raises anything but `CancelledError`."""
        known = request.path in self._routes
        self._busy += 1
        status = 499  # the client went away, as nginx counts it
        try:
            response = await self._guarded(request)
            status = response.status
        finally:
            self._busy -= 1
            path = request.path if known else "other"
            self.metrics.add("requests_total", path=path, status=str(status))
        return response

    async def _guarded(self, request: Request) -> Response:
        try:
            methods = self._routes.get(request.path)
            if methods is None:
                raise Refusal(
                    404, "not_found", f"There is no {request.path[:100]}; see /v1/models or /health."
                )
            method = "GET" if request.method == "HEAD" else request.method
            if method not in methods:
                allowed = ", ".join(methods)
                raise Refusal(405, "method", f"{request.path} takes {allowed}, not {request.method[:20]}.")
            return await methods[method](request)
        except Refusal as refusal:
            return refuse(refusal)
        except Exception as error:  # noqa: BLE001 - one request must not take the server with it
            text = f"Something went wrong inside ({type(error).__name__}: {str(error)[:200]}); ask again."
            return refuse(Refusal(500, "internal", text))

    # -- pictures

    async def _generate(self, request: Request) -> Response:
        loop = asyncio.get_running_loop()
        arrived = loop.time()
        wanted = self._wanted(_object(request.body))
        if self.stopping:
            raise stopping()
        if (refusal := self._room(wanted.count)) is not None:
            raise refusal
        deadline = arrived + wanted.deadline
        asks = [
            Ask(wanted.prompt, (wanted.seed + at) % (LARGEST_SEED + 1), deadline, wanted.route)
            for at in range(wanted.count)
        ]
        if len(asks) == 1:
            answers = [await self.service.answer(asks[0])]
        else:
            answers = await _all(self.service, asks)
        body = {
            "created": int(time.time()),
            "model": self.model.name,
            "data": [self._datum(answer) for answer in answers],
        }
        return _json(body)

    def _datum(self, answer: Answer) -> dict[str, Any]:
        said = {
            "seed": answer.seed,
            "decision": answer.decision,
            "reason": answer.reason,
            "score": answer.score,
            "threshold": answer.threshold if self.model.cascade else None,
            "seconds": {name: round(value, 6) for name, value in answer.times.items()},
            "attempts": answer.attempts,
        }
        return {"b64_json": base64.b64encode(answer.png).decode("ascii"), "pareto": said}

    def _wanted(self, body: Mapping[str, Any]) -> _Wanted:
        if unknown := sorted(set(body) - _KNOWN):
            raise _bad(unknown[0][:60], "is not known here; leave it out")
        prompt = body.get("prompt")
        if not isinstance(prompt, str) or not prompt.strip():
            raise _bad("prompt", "must be a text that says what to draw")
        if len(prompt) > LONGEST_PROMPT:
            raise _bad("prompt", f"has {len(prompt)} characters; at most {LONGEST_PROMPT} are read")
        try:
            prompt.encode()
        except UnicodeEncodeError:
            raise _bad("prompt", "holds half a character (a lone surrogate); send whole ones") from None
        size = f"{self.model.width}x{self.model.height}"
        self._one_of(body, "size", (size, "auto"))
        self._one_of(body, "response_format", ("b64_json",))
        self._one_of(body, "output_format", ("png",))
        if not isinstance(body.get("user") or "", str):
            raise _bad("user", "must be a text")
        model = body.get("model")
        if model is not None and model != self.model.name:
            raise Refusal(404, "model_not_found", f"The model served here is {self.model.name}.")
        quality = self._one_of(body, "quality", tuple(QUALITY)) or "auto"
        route = self._one_of(body, "route", ROUTES) or QUALITY[quality]
        seed = _whole(body, "seed", 0, LARGEST_SEED)
        milliseconds = body.get("deadline_ms")
        seconds = self.deadline
        if milliseconds is not None:
            if isinstance(milliseconds, bool) or not isinstance(milliseconds, int | float):
                raise _bad("deadline_ms", "must be a number of milliseconds")
            seconds = milliseconds / 1000
            if not 0 < seconds <= LONGEST_DEADLINE:
                raise _bad("deadline_ms", f"must be above 0 and at most {LONGEST_DEADLINE * 1000:.0f}")
        return _Wanted(
            prompt=prompt,
            count=_whole(body, "n", 1, MOST_PICTURES) or 1,
            seed=secrets.randbelow(2**31) if seed is None else seed,
            deadline=seconds,
            route=route,  # type: ignore[arg-type]
        )

    @staticmethod
    def _one_of(body: Mapping[str, Any], name: str, values: tuple[str, ...]) -> str | None:
        value = body.get(name)
        if value is None:
            return None
        if not isinstance(value, str) or value not in values:
            raise _bad(name, f"must be {' or '.join(values)}")
        return value

    # -- the rest

    async def _models(self, _request: Request) -> Response:
        one = {
            "id": self.model.name,
            "object": "model",
            "created": self.model.created,
            "owned_by": "pareto-studio",
            "package": self.model.id,
            "cascade": self.model.cascade,
            "size": f"{self.model.width}x{self.model.height}",
            "engines": self._engines(),
        }
        return _json({"object": "list", "data": [one]})

    async def _get_threshold(self, _request: Request) -> Response:
        self._needs_cascade()
        return _json({"threshold": self.service.settings.threshold, "held": self.held})

    async def _put_threshold(self, request: Request) -> Response:
        self._needs_cascade()
        body = _object(request.body)
        if set(body) != {"threshold"}:
            raise _bad("threshold", 'must be given, and nothing else: {"threshold": 0.4}')
        if body["threshold"] is None:
            self.held = False
        else:
            self._apply({"threshold": body["threshold"]})
            self.held = True
        return await self._get_threshold(request)

    async def _get_plan(self, _request: Request) -> Response:
        found = {
            "settings": self.service.settings.to_json(),
            "held": self.held,
            "load": self.service.load().to_json(),
            "note": self.note,
            "engines": self._engines(),
        }
        return _json(found)

    async def _put_plan(self, request: Request) -> Response:
        body = _object(request.body)
        if "threshold" in body or "light" in body:
            self._needs_cascade()
        self._apply(body)
        return await self._get_plan(request)

    def _apply(self, wanted: Mapping[str, Any]) -> None:
        try:
            settings = self.service.settings.changed(wanted)
        except ValueError as error:
            raise Refusal(400, "invalid", f"{error}.") from None
        self.service.apply(settings)

    def _needs_cascade(self) -> None:
        if not self.model.cascade:
            raise Refusal(404, "no_cascade", "This package is one model; only cascades have a threshold.")

    async def _health(self, _request: Request) -> Response:
        if self.stopping:
            return _json({"status": "stopping"}, 503)
        if reason := self._trouble():
            return _json({"status": "not ready", "reason": reason, "engines": self._engines()}, 503)
        said = {"status": "ok", "model": self.model.name, "package": self.model.id}
        return _json(said | {"engines": self._engines()})

    async def _metrics(self, _request: Request) -> Response:
        return Response(200, self.metrics.text().encode(), exposition.TYPE)


@dataclass(frozen=True, slots=True)
class _Wanted:
    prompt: str
    count: int
    seed: int
    deadline: float
    route: Route


async def _all(service: Service, asks: list[Ask]) -> list[Answer]:
    """All or nothing: where one is refused the others are given up."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(service.answer(ask)) for ask in asks]
    except* Refusal as refusals:
        raise refusals.exceptions[0] from None
    return [task.result() for task in tasks]


def refuse(refusal: Refusal) -> Response:
    """The error body that OpenAI's clients read."""
    kind = "server_error" if refusal.status >= 500 else "invalid_request_error"
    if refusal.status == 429:
        kind = "rate_limit_error"
    headers = () if refusal.retry_after is None else (("Retry-After", f"{refusal.retry_after:.0f}"),)
    return _json(
        {"error": {"message": refusal.text, "type": kind, "code": refusal.code}}, refusal.status, headers
    )


def _json(body: Mapping[str, Any], status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    return Response(status, json.dumps(body).encode() + b"\n", headers=headers)


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise Refusal(
            400, "not_json", 'The body is not JSON; send for example {"prompt": "a red house"}.'
        ) from None
    if not isinstance(found, dict):
        raise Refusal(
            400, "not_json", 'The body must be a JSON object, for example {"prompt": "a red house"}.'
        )
    return found


def _whole(body: Mapping[str, Any], name: str, low: int, high: int) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _bad(name, f"must be a whole number from {low} to {high}")
    return value


def _bad(name: str, text: str) -> Refusal:
    return Refusal(400, "invalid", f"{name} {text}.")
