"""The language model of a run: chosen and checked before it starts, opened by the session, asked about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from studio.errors import RunError
from studio.record import events
from studio.record.events import LlmChoice
from studio.record.state import RunState
from studio.work.job import Job

if TYPE_CHECKING:
    from agent.llm.briefing import Surroundings
    from agent.llm.conversation import Conversation, Hearer
    from agent.llm.presets import Preset
    from agent.llm.service import Service
    from agent.llm.spending import Budget
    from agent.loop import Settings
    from agent.planner.context import Coder, Context, Debugger, Planner

BUILT_IN: Final = "built-in"
AGENTS: Final = (BUILT_IN, "llm")


def choose(
    agent: str,
    *,
    model: str = "",
    url: str = "",
    budget: str = "",
    preset: str = "",
    cancelled: Callable[[], bool] = lambda: False,
) -> LlmChoice | None:
    """What a new run asks: None: the built-in agent; else a model of the service's list, its key checked.

    Raises:
        RunError: no such agent or preset, or no such budget.
        LlmError: no key, no such model, or the service is out of reach.
    """
    if agent not in AGENTS:
        raise RunError(f"There is no agent {agent}; choose {' or '.join(AGENTS)}.")
    name = read_preset(preset)
    if agent == BUILT_IN:
        return None
    from agent.llm.key import address
    from agent.llm.spending import Spending, prices

    limit = read_limit(budget)
    where = address(url)
    offered = service(where).choose(model, cancelled)
    table = prices()
    rates = table.rates(offered.id, where)
    Spending(rates, limit)
    return LlmChoice(
        model=offered.id,
        url=where,
        preset=name,
        usd=limit.usd,
        tokens=limit.tokens,
        priced="" if rates is None else table.as_of,
    )


def read_preset(text: str) -> str:
    """Its name; nothing, or what *hybrid* was called without a language model once, is *hybrid*.

    Raises:
        RunError: there is no such preset.
    """
    from agent.llm.presets import HYBRID, PRESETS

    name = text if text not in ("", "quick") else HYBRID.name
    if name not in PRESETS:
        raise RunError(f"There is no preset {name}; choose {' or '.join(PRESETS)}.")
    return name


def read_limit(text: str) -> Budget:
    """Raises `RunError` for what is no budget; empty: no limit."""
    from agent.llm.spending import Budget, read_budget

    if not text.strip():
        return Budget()
    try:
        return read_budget(text)
    except ValueError as error:
        raise RunError(f"{error}.") from error


def service(url: str, model: str = "") -> Service:
    """Raises `LlmError` where there is no key for an address that needs one."""
    from agent.llm.key import find_key
    from agent.llm.service import Service

    return Service(url, find_key(url), model)


def spent(state: RunState) -> tuple[int, float, int]:
    """Calls, US dollars and tokens of a run so far."""
    answers = state.answered.values()
    tokens = sum(one.input + one.output + one.write + one.read for one in answers)
    return len(answers), sum(one.usd or 0.0 for one in answers), tokens


@dataclass(frozen=True, slots=True)
class Parts:
    """The agent of a run behind the loop's interfaces."""

    planner: Planner
    coder: Coder
    debugger: Debugger
    settings: Settings


def built_in(begun: events.RunStarted, coder: Coder) -> Parts:
    """The agent that needs no key, by the run's preset.

    *hybrid* is the built-in planner itself: its forecast chooses structures, the Gaussian process their
    numbers.  Neither preset writes a script anew: the fixed one would come out the same.
    """
    from agent.debugger import RuleDebugger
    from agent.llm.presets import PAPER
    from agent.loop import Settings
    from agent.planner.builtin import BuiltinPlanner
    from agent.planner.paper import PaperPlanner

    settings = Settings(begun.generations, begun.population, begun.budget, replans=1)
    if begun.preset != PAPER.name:
        return Parts(BuiltinPlanner(), coder, RuleDebugger(coder), settings)
    settings = replace(settings, repairs=PAPER.repairs, replans=PAPER.replans)
    return Parts(PaperPlanner(), coder, RuleDebugger(coder), settings)


def preset_of(choice: LlmChoice) -> Preset:
    """Raises `RunError` for a preset that this version does not know."""
    from agent.llm.presets import PRESETS

    if choice.preset not in PRESETS:
        raise RunError(f"This version knows no preset {choice.preset}; start a new run.")
    return PRESETS[choice.preset]


def opened(choice: LlmChoice, cancelled: Callable[[], bool] = lambda: False) -> Service:
    """The service of a run, its key and model checked again.

    Raises:
        LlmError: no key, no such model, or the service is out of reach.
    """
    found = service(choice.url, choice.model)
    found.choose(choice.model, cancelled)
    return found


def conversation(
    choice: LlmChoice, model: Service, state: RunState, hearer: Hearer, cancelled: Callable[[], bool]
) -> Conversation:
    """A run's talk with its model, counted on from what the run has spent."""
    from agent.llm.conversation import Conversation
    from agent.llm.spending import Budget, Spending, Usage, prices

    calls, usd, tokens = spent(state)
    spending = Spending(
        prices().rates(choice.model, choice.url),
        Budget(choice.usd, choice.tokens),
        Usage(input=tokens),
        usd,
        calls,
    )
    return Conversation(model, spending, hearer, cancelled, max(state.asked, default=0))


def language(begun: events.RunStarted, talk: Conversation, around: Surroundings, coder: Any) -> Parts:
    """The agent that asks a language model; the built-in one stands by."""
    from agent.debugger import RuleDebugger
    from agent.llm.coder import LlmCoder
    from agent.llm.debugger import LlmDebugger
    from agent.loop import Settings
    from agent.planner.builtin import BuiltinPlanner
    from agent.planner.llm import LlmPlanner

    assert begun.agent is not None
    preset = preset_of(begun.agent)
    settings = Settings(
        begun.generations,
        begun.population,
        begun.budget,
        repairs=preset.repairs,
        regenerations=preset.regenerations,
        replans=preset.replans,
    )
    return Parts(
        LlmPlanner(talk, preset, around, BuiltinPlanner(at_once=None)),
        LlmCoder(talk, preset, around, coder),
        LlmDebugger(talk, preset, around, RuleDebugger(coder)),
        settings,
    )


def leaving(choice: LlmChoice) -> str:
    """What goes to the service and what stays, as a sentence."""
    from agent.llm.briefing import LEAVES, STAYS
    from agent.llm.key import is_local

    where = f"{choice.url}, on this machine" if is_local(choice.url) else choice.url
    return (
        f"The language model {choice.model} at {where} is told: {'; '.join(LEAVES)}. "
        f"Never: {'; '.join(STAYS)}."
    )


def forecast(
    choice: LlmChoice, context: Context, machine: dict[str, Any], generations: int, population: int
) -> Any:
    """`agent.llm.estimate.Estimate` of a run."""
    from agent.llm.briefing import Surroundings
    from agent.llm.estimate import estimate
    from agent.llm.spending import prices

    return estimate(
        context,
        Surroundings(machine),
        preset_of(choice),
        generations,
        population,
        prices().rates(choice.model, choice.url),
    )


# -- commands of the worker ------------------------------------------------------------------------


def models(job: Job, url: str = "") -> dict[str, Any]:
    """Command `llm_models`: the service's own list.

    What `llm_about` says, and `"models": [{"id", "name", "thinking", "input", "output"}...]`; `input` and
    `output` are US dollars for a million tokens, None where they are not known.

    Raises:
        LlmError: no key, or the service is out of reach.
    """
    from agent.llm.key import address, find_key
    from agent.llm.service import Service
    from agent.llm.spending import prices

    where = address(url)
    key = find_key(where)
    table = prices()
    offered = Service(where, key).models(job.cancelled.is_set)
    shown = []
    for one in offered:
        rates = table.rates(one.id, where)
        shown.append(
            {
                "id": one.id,
                "name": one.name,
                "thinking": one.thinking,
                "input": None if rates is None else rates.input,
                "output": None if rates is None else rates.output,
            }
        )
    return {**about(job, where), "models": shown}


def about(job: Job, url: str = "") -> dict[str, Any]:
    """Command `llm_about`: what can be said without asking the service.

    `{"url", "local", "key": "sitting" | "environment" | "keyring" | "none", "needs_key",
    "prices": {"as_of", "source"}, "leaves": [...], "stays": [...]}`

    Raises:
        LlmError: no address of a service.
    """
    del job
    from agent.llm.briefing import LEAVES, STAYS
    from agent.llm.errors import LlmKeyError
    from agent.llm.key import address, find_key, is_local, is_official
    from agent.llm.spending import prices

    where = address(url)
    try:
        source = find_key(where).source
    except LlmKeyError:
        source = "none"
    table = prices()
    return {
        "url": where,
        "local": is_local(where),
        "key": source,
        "needs_key": is_official(where),
        "prices": {"as_of": table.as_of, "source": table.source},
        "leaves": list(LEAVES),
        "stays": list(STAYS),
    }


def store_key(job: Job, key: str, url: str = "") -> dict[str, Any]:
    """Command `llm_key`: keep a key (empty: forget it); `{"url", "kept": "keyring" | "sitting" | "none"}`.

    Raises:
        LlmError: no address of a service.
    """
    del job
    from agent.llm.key import address, keep_key

    kept: Literal["sitting", "environment", "keyring", "none"] = keep_key(url, key)
    return {"url": address(url), "kept": kept}


def prompts(job: Job) -> dict[str, Any]:
    """Command `llm_prompts`: `{"prompts": [{"name", "version", "text"}...]}`, as they ship."""
    del job
    from agent.llm.prompts import NAMES, prompt

    found = [prompt(name) for name in NAMES]
    return {"prompts": [{"name": one.name, "version": one.version, "text": one.text} for one in found]}


def cost(
    job: Job,
    model: str,
    llm_model: str,
    target: str = "cpu",
    workload: dict[str, Any] | None = None,
    preset: str = "hybrid",
    url: str = "",
    generations: int = 4,
    population: int = 7,
) -> dict[str, Any]:
    """Command `llm_estimate`: `{"calls": [low, high], "tokens": [low, high], "usd": [low, high] | None,
    "text"}`.

    Raises:
        EngineError: the model, the target or the workload cannot be used.
        RunError: no such preset.
    """
    from agent.llm.key import address
    from agent.planner.context import prepare as context
    from engines.models.card import describe
    from engines.models.load import open_model
    from engines.workload import Workload
    from studio.work.machine import describe_machine

    job.progress(0, 0, "estimating")
    choice = LlmChoice(model=llm_model, url=address(url), preset=preset)
    known = context(model, describe(open_model(model)), target, Workload.model_validate(workload or {}))
    found: dict[str, Any] = forecast(choice, known, describe_machine(), generations, population).to_json()
    return found
