"""Planner, coder and debugger with a language model, in the closed loop on the arithmetic judge."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from agent.broken import is_broken
from agent.candidate import (
    BuiltEngine,
    Candidate,
    Census,
    Counted,
    Interval,
    Proposal,
    Recipe,
    Sample,
    Verdict,
)
from agent.coder import ScriptWriter, title
from agent.debugger import RuleDebugger
from agent.evolution.front import Judged
from agent.evolution.space import key
from agent.llm.briefing import Surroundings, evidence, numbers, private
from agent.llm.coder import LlmCoder
from agent.llm.conversation import Call, Conversation, Hearer, Reply
from agent.llm.debugger import LlmDebugger
from agent.llm.errors import BudgetSpent, LlmKeyError, LlmUnusable
from agent.llm.key import Secret
from agent.llm.presets import HYBRID, PAPER, kept
from agent.llm.service import Service
from agent.llm.spending import Budget, Spending, Usage, prices
from agent.loop import Listener, Outcome, Settings, evolve
from agent.planner.builtin import BuiltinPlanner
from agent.planner.llm import LlmPlanner
from tests.language_agent import Answers, plan, wanted
from tests.messages_service import Given, MessagesService, Status, Streamed

RATES = prices().models["claude-opus-5-5"]


class Writer(ScriptWriter):
    """Scripts that say what they are; no technique has to be registered for them."""

    def write(self, proposal: Proposal, context: Any) -> str:
        return f"# {title(proposal.recipe)}"

    def baseline(self, context: Any) -> str:
        return "# baseline"


class Heard(Hearer, Listener):
    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.replies: list[Reply] = []
        self.notices: list[str] = []

    def asked(self, call: Call) -> None:
        self.calls.append(call)

    def replied(self, call: Call, reply: Reply) -> None:
        self.replies.append(reply)

    def notice(self, level: Any, text: str) -> None:
        self.notices.append(text)


@dataclass
class Setting:
    """A language model at a server, and what was heard of it."""

    talk: Conversation
    heard: Heard

    def planner(self, preset: Any = HYBRID, **rest: Any) -> LlmPlanner:
        return LlmPlanner(self.talk, preset, Surroundings(), **rest)


def opened(service: MessagesService, budget: Budget | None = None, rates: Any = RATES) -> Setting:
    heard = Heard()
    model = Service(service.url, Secret(""), "claude-opus-5-5", retries=1, first_wait=0.01)
    return Setting(Conversation(model, Spending(rates, budget or Budget()), heard), heard)


STUDENT = plan(("student", {"steps": 4}))
SOLVER = plan(("scheduler", {"name": "dpm++2m"}), ("fewer-steps", {"steps": 12}))
ENGINE = plan(("engine", {"backend": "openvino"}))


def propose(
    world: Any, answers: Sequence[Any], count: int, preset: Any = PAPER, **rest: Any
) -> tuple[Any, Any]:
    with MessagesService(Answers(answers)) as service:
        here = opened(service)
        return here.planner(preset, **rest).propose(world.context, count), here


def test_plans_become_proposals_with_their_reasons(world: Any) -> None:
    coded = plan(("engine", {"backend": "openvino"}), code="Decode all latents in one batch.")
    found, here = propose(world, [[STUDENT, SOLVER, coded]], 3)
    assert [world.space.structure(one.recipe) for one in found] == [
        ("student",),
        ("fewer-steps", "scheduler/dpm++2m"),
        ("engine/openvino",),
    ]
    assert found[0].why == "Denoising takes most of the time. Expected: 2x at a loss of 1.0 points."
    assert [one.origin for one in found] == ["seed"] * 3
    assert found[2].code == "Decode all latents in one batch."
    assert [call.purpose for call in here.heard.calls] == ["plan"]
    assert here.heard.calls[0].prompts == ("system/1", "plan/1")


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (plan(("student", {}), ("scheduler", {"name": "unipc"})), "does not go with"),
        (plan(("teleport", {})), "no technique 'teleport'"),
        (plan(("fewer-steps", {"steps": 900})), "takes steps from"),
        (plan(("fewer-steps", {"steps": 30})), "it is the unchanged model"),
        (plan(("tiny-decoder", {}), kind="refine", parents=["c999"]), "none of its parents"),
        (STUDENT, "same recipe was tried before"),
        ({"kind": "new", "recipe": "student"}, "cannot be read"),
    ],
)
def test_a_plan_that_cannot_be_used_is_told_once_and_replaced(world: Any, bad: Any, why: str) -> None:
    said: list[str] = []
    answers = Answers(
        [[STUDENT, bad], [SOLVER]], watch=lambda body: said.append(body["messages"][0]["content"])
    )
    with MessagesService(answers) as service:
        found = opened(service).planner(PAPER).propose(world.context, 2)
    assert [world.space.structure(one.recipe)[0] for one in found] == ["student", "fewer-steps"]
    assert "Your last answer" not in said[0]
    assert why in said[1]
    assert "Give exactly 1 plans" in said[1]


@pytest.mark.parametrize(
    "answer",
    [
        Streamed([("text", "I would use fewer steps.")]),
        Streamed([("propose_plans", '{"plans": [{"kind": "new", ')], stop="max_tokens"),
        Streamed([("propose_plans", "{nonsense}")]),
        Streamed([("text", "")], stop="refusal"),
        Status(529, "overloaded_error"),
    ],
    ids=["no tool", "cut short", "malformed", "refused", "overloaded"],
)
def test_where_no_plan_is_had_the_built_in_planner_steps_in_and_says_so(world: Any, answer: Any) -> None:
    history = (Judged(Candidate("c000", 0, Proposal((), "", "baseline"), ""), world.judge().baseline()),)
    context = replace(world.context, history=history, reference=(1.1, 0.5))
    with MessagesService([answer]) as service:
        here = opened(service)
        found = here.planner(HYBRID, fallback=BuiltinPlanner(at_once=None)).propose(context, 4)
    assert len(found) == 4
    assert any("built-in planner" in text for text in here.heard.notices)
    assert len({key(one.recipe) for one in found}) == 4


@pytest.mark.parametrize(
    ("answer", "error"),
    [(Status(401, "authentication_error"), LlmKeyError), (Status(404, "not_found_error"), LlmUnusable)],
)
def test_a_service_that_will_never_answer_ends_the_run_with_its_sentence(
    world: Any, answer: Any, error: Any
) -> None:
    with MessagesService([answer]) as service, pytest.raises(error):
        opened(service).planner(fallback=BuiltinPlanner()).propose(world.context, 4)


class Failing:
    """A judge that fails what is in `broken` and measures the rest by arithmetic."""

    def __init__(self, world: Any, fails: Any, verdict: Verdict | None = None) -> None:
        self.inner, self.fails = world.judge(), fails
        self.verdict = verdict or Verdict(
            "failed",
            "smoke",
            "TypeError in /home/someone/run/c001.py.",
            "Traceback\n/home/someone/x.py\nTypeError",
        )

    def baseline(self) -> Verdict:
        found: Verdict = self.inner.baseline()
        return found

    def judge(self, candidate: Candidate, on_stage: Any) -> Verdict:
        if self.fails(candidate):
            return self.verdict
        found: Verdict = self.inner.judge(candidate, on_stage)
        return found


def evolved(world: Any, here: Setting, judge: Any, preset: Any, settings: Settings, **rest: Any) -> Outcome:
    writer = Writer()
    return evolve(
        world.context,
        judge,
        here.planner(preset, fallback=BuiltinPlanner(at_once=None) if preset is HYBRID else None),
        LlmCoder(here.talk, preset, plain=writer),
        LlmDebugger(here.talk, preset, fallback=RuleDebugger(writer)),
        settings=settings,
        listener=here.heard,
        **rest,
    )


def settings_of(preset: Any, generations: int, population: int) -> Settings:
    return Settings(
        generations,
        population,
        repairs=preset.repairs,
        regenerations=preset.regenerations,
        replans=preset.replans,
    )


def test_a_script_that_fails_is_repaired_from_its_evidence(world: Any) -> None:
    said: list[str] = []
    answers = Answers(
        [[plan(("student", {}), code="Decode in one batch.")]],
        ["# broken"],
        ["# still broken", "# works"],
        watch=lambda body: said.append(body["messages"][0]["content"]),
    )
    with MessagesService(answers) as service:
        here = opened(service)
        judge = Failing(world, lambda one: "broken" in one.script)
        outcome = evolved(world, here, judge, HYBRID, settings_of(HYBRID, 1, 1))
    states = [(one.id, one.verdict.state, one.candidate.proposal.parents) for one in outcome.history[1:]]
    assert states == [
        ("c001", "failed", ()),
        ("c002", "failed", ("c001",)),
        ("c003", "passed", ("c002",)),
    ]
    assert outcome.history[-1].candidate.script == "# works\n"
    assert outcome.history[-1].candidate.proposal.code == "Decode in one batch."
    assert "channels first" in outcome.history[-1].candidate.proposal.why
    assert [call.candidate for call in here.heard.calls] == ["", "c001", "c002", "c003"]
    assert "repair 1 of 3" in said[2]
    assert "repair 2 of 3" in said[3]
    assert "TypeError" in said[2]
    assert "/home/someone" not in "".join(said)


def test_after_three_repairs_the_idea_gives_its_place_to_another_plan(world: Any) -> None:
    answers = Answers(
        [[plan(("student", {}), code="An idea that cannot work.")], [SOLVER]],
        ["# broken"],
        [f"# broken {number}" for number in range(9)],
    )
    with MessagesService(answers) as service:
        here = opened(service)
        judge = Failing(world, lambda one: "broken" in one.script)
        outcome = evolved(world, here, judge, HYBRID, settings_of(HYBRID, 1, 1))
    assert [one.verdict.state for one in outcome.history[1:]] == ["failed"] * 4 + ["passed"]
    assert answers.asked == ["plan", "code", "repair", "repair", "repair", "plan"]


def test_in_the_paper_preset_five_new_scripts_come_before_another_plan(world: Any) -> None:
    number = iter(range(99))
    said: list[str] = []
    answers = Answers(
        [[STUDENT], [SOLVER]], [], [], watch=lambda body: said.append(body["messages"][0]["content"])
    )
    answers.codes = [f"# broken {next(number)}" for _ in range(6)] + ["# works"]
    answers.repairs = [f"# broken too {next(number)}" for _ in range(18)]
    with MessagesService(answers) as service:
        here = opened(service)
        judge = Failing(world, lambda one: "broken" in one.script)
        outcome = evolved(world, here, judge, PAPER, settings_of(PAPER, 1, 1))
    assert answers.asked.count("code") == 7
    assert answers.asked.count("repair") == 18
    assert len(outcome.history) == 1 + 6 + 18 + 1
    assert [kind for kind in answers.asked if kind == "plan"] == ["plan", "plan"]
    again = said[max(at for at, kind in enumerate(answers.asked) if kind == "plan")]
    assert "student" in again, "the second plan is told what failed"
    assert "TypeError" in again
    assert outcome.history[-1].verdict.state == "passed"


def test_in_the_paper_preset_an_answer_that_never_comes_does_not_end_the_run(world: Any) -> None:
    history = several(world, [])
    context = replace(world.context, history=history, reference=(1.1, 0.5))
    with MessagesService([Status(529, "overloaded_error")]) as service:
        here = opened(service)
        found = here.planner(PAPER, fallback=BuiltinPlanner(at_once=None)).propose(context, 3)
    assert len(found) == 3
    with MessagesService(Answers([[STUDENT]])) as service:
        here = opened(service)
        # Too few plans are the model's own affair.
        assert len(here.planner(PAPER, fallback=BuiltinPlanner(at_once=None)).propose(context, 3)) == 1


def test_the_users_prompts_are_taken_out_of_what_a_script_says(world: Any) -> None:
    workload = world.context.workload.model_copy(update={"prompts": ("A secret moon", "cat")})
    verdict = Verdict("failed", "smoke", "No a secret moon.", "cannot draw a SECRET moon or a cat")
    context = replace(world.context, workload=workload)
    assert evidence(verdict, context) == "```text\ncannot draw [prompt] or a cat\n```"
    assert "secret" not in numbers(verdict, context)


def test_another_attempt_is_made_only_where_the_budget_has_room(world: Any) -> None:
    cut = Streamed([("text", "x" * 70_000)], cut_after=150)
    for tokens, attempts in ((200_000, 2), (30_000, 1)):
        with MessagesService([cut]) as service:
            here = opened(service, Budget(tokens=tokens))
            here.planner(PAPER).propose(world.context, 1)
            assert len(service.bodies) == attempts
        assert here.talk.spending.usage.total > 15_000


def test_presets_are_the_published_constants() -> None:
    assert (PAPER.population, PAPER.keep, PAPER.new, PAPER.generations) == (7, 4, 3, 4)
    assert (PAPER.regenerations, PAPER.repairs, PAPER.selection) == (5, 3, "fitness")
    assert (HYBRID.population, HYBRID.generations, HYBRID.selection) == (7, 4, "hypervolume")


def several(world: Any, recipes: Sequence[Recipe], code: str = "") -> tuple[Judged, ...]:
    judge, found = world.judge(), []
    found.append(Judged(Candidate("c000", 0, Proposal((), "", "baseline"), ""), judge.baseline()))
    for number, recipe in enumerate(recipes, 1):
        candidate = Candidate(
            f"c{number:03}", 1, Proposal(world.space.canonical(recipe), "", "seed", (), code), f"# {number}"
        )
        found.append(Judged(candidate, judge.judge(candidate, lambda *_: None)))
    return tuple(found)


def test_in_hybrid_the_numbers_inside_a_structure_are_mathematics(world: Any) -> None:
    step = world.step
    history = several(
        world,
        [
            (step("fewer-steps", {"steps": 20}),),
            (step("fewer-steps", {"steps": 15}),),
            (step("student", {"steps": 4}),),
            (step("engine", {"backend": "openvino"}), step("fewer-steps", {"steps": 18})),
            (step("guidance-cutoff", {"until": 0.8}),),
        ],
    )
    context = replace(world.context, history=history, generation=2, reference=(1.1, 0.5))

    def answer(body: dict[str, Any]) -> Given:
        mixed = [
            plan(("scheduler", {"name": "unipc"}), ("fewer-steps", {"steps": 29})),
            plan(("tiny-decoder", {}), ("student", {}), kind="recombine", parents=["c003"]),
            plan(("feature-cache", {"interval": 3})),
            plan(("prompt-cache", {}), ("engine", {"backend": "openvino"})),
            plan(("token-merging", {"ratio": 0.5})),
        ]
        return Streamed([("propose_plans", {"plans": mixed[: wanted(body)]})])

    with MessagesService(answer) as service:
        found = opened(service).planner(HYBRID).propose(context, 7)
        prompt = service.bodies[0]["messages"][0]["content"]
    assert "Give exactly 5 plans" in prompt
    assert "2 refined or recombined" in prompt
    assert len(found) == 7
    assert len({key(one.recipe) for one in found}) == 7
    structures = [world.space.structure(one.recipe) for one in found]
    assert ("fewer-steps", "scheduler/unipc") in structures
    (solver,) = [
        one for one in found if world.space.structure(one.recipe) == ("fewer-steps", "scheduler/unipc")
    ]
    assert found[1].parents == ("c003",)
    assert sum("Gaussian process" in one.why for one in found) == 2
    assert solver.recipe[0].parameters["steps"] != 29


def test_what_a_script_does_beyond_its_recipe_is_not_taken_for_the_recipes_doing(world: Any) -> None:
    step = world.step
    history = several(world, [(step("student", {"steps": 4}),)] * 5, code="A kernel of its own.")
    context = replace(world.context, history=history, generation=2, reference=(1.1, 0.5))
    with MessagesService(
        Answers([[STUDENT, plan(("student", {"steps": 2}), code="A kernel of its own.")]])
    ) as service:
        found = opened(service).planner(HYBRID).propose(context, 2)
    # Only verdicts of plain recipes feed the Gaussian process, and there is none: the plan keeps its numbers.
    assert [(one.recipe[0].parameters["steps"], bool(one.code)) for one in found] == [(2, True)]


def test_parents_with_code_are_shown_with_their_scripts_for_recombination(world: Any) -> None:
    step = world.step
    history = several(world, [(step("student", {"steps": 4}),)], code="A kernel of its own.")
    context = replace(world.context, history=history, generation=2, reference=(1.1, 0.5))
    with MessagesService(Answers([[ENGINE]])) as service:
        opened(service).planner(HYBRID).propose(context, 1)
        prompt = service.bodies[0]["messages"][0]["content"]
    assert "```python\n# 1\n```" in prompt
    assert "code: A kernel of its own." in prompt


def test_the_fitness_of_the_paper_draws_the_better_more_often(world: Any) -> None:
    import random

    step = world.step
    history = several(
        world,
        [(step("student", {"steps": 4}), step("engine", {"backend": "openvino"}))]
        + [(step("fewer-steps", {"steps": 29 - number}),) for number in range(8)],
    )
    drawn = [
        one.id
        for seed in range(200)
        for one in kept(history, (1.1, 0.5), 0.02, replace(PAPER, keep=1), random.Random(seed))
    ]
    assert max(set(drawn), key=drawn.count) == "c001"
    assert len(set(drawn)) > 3


def test_a_budget_ends_the_run_cleanly_and_says_what_was_spent(world: Any) -> None:
    answers = Answers([[STUDENT, SOLVER], [ENGINE, plan(("tiny-decoder", {}))]])
    with MessagesService(answers) as service:
        here = opened(service, Budget(tokens=14_000))
        outcome = evolved(world, here, world.judge(), PAPER, settings_of(PAPER, 4, 2))
    assert outcome.ending == "budget"
    assert here.talk.spending.usage.total <= 14_000
    assert any("14,000 tokens" in text and "used up" in text for text in here.heard.notices)
    assert outcome.history


def test_a_budget_in_money_shortens_the_last_answer_and_never_overdraws() -> None:
    spending = Spending(RATES, Budget(usd=0.10))
    assert spending.allow(1000, 16_000, "plan") == 4750
    spending.add(Usage(input=1000, output=4500), "plan")
    with pytest.raises(BudgetSpent, match=r"\$0.10.*\$0.09"):
        spending.allow(1000, 16_000, "plan")
    with pytest.raises(LlmUnusable, match="300k tokens"):
        Spending(None, Budget(usd=1.0))
    assert Spending(None, Budget()).add(Usage(input=5)) is None


def test_what_the_user_says_is_in_the_next_plan(world: Any) -> None:
    notes: list[str] = []
    said: list[str] = []

    def watch(body: dict[str, Any]) -> None:
        said.append(body["messages"][0]["content"])
        notes.append("Try without int8.")

    with MessagesService(Answers([[STUDENT], [SOLVER]], watch=watch)) as service:
        here = opened(service)
        evolved(world, here, world.judge(), replace(PAPER, writes="free code"), settings_of(PAPER, 2, 1),
                notes=lambda: tuple(notes))  # fmt: skip
    assert "Try without int8." not in said[0]
    assert "- Try without int8." in said[1]


def test_a_candidate_that_the_user_declines_is_not_run(world: Any) -> None:
    with MessagesService(Answers([[STUDENT, SOLVER]])) as service:
        here = opened(service)
        outcome = evolved(
            world, here, world.judge(), replace(PAPER, writes="free code"), settings_of(PAPER, 1, 2),
            approve=lambda one: "skip" if one.id == "c001" else "run",
        )  # fmt: skip
    assert [one.id for one in outcome.history] == ["c000", "c002"]


def test_a_failed_repair_call_leaves_the_rules_to_it(world: Any) -> None:
    failed = Candidate(
        "c001", 1, Proposal((world.step("engine", {"backend": "openvino"}),), "", "seed"), "# x"
    )
    verdict = Verdict("failed", "build", "OpenVINO cannot read the denoiser.")
    with MessagesService([Status(529, "overloaded_error")]) as service:
        here = opened(service)
        debugger = LlmDebugger(here.talk, HYBRID, fallback=RuleDebugger(Writer()))
        repair = debugger.repair(failed, verdict, world.context)
        alone = LlmDebugger(here.talk, HYBRID).repair(failed, verdict, world.context)
    assert repair is not None
    assert repair.recipe[0].parameters["backend"] == "onnxruntime"
    assert alone is None
    assert "a rule repairs it instead" in here.heard.notices[0]
    assert "left as it is" in here.heard.notices[1]
    assert "is overloaded" in here.heard.replies[0].error


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('File "/home/anna/studio/run/c001.py", line 3', 'File "c001.py", line 3'),
        (
            "/home/anna/v/lib/python3.11/site-packages/torch/nn/modules/linear.py:3",
            "torch/nn/modules/linear.py:3",
        ),
        (r"C:\Users\Anna\models\sd15\unet.safetensors", "unet.safetensors"),
        ("/srv/app/engines/hostloop/loop.py", "engines/hostloop/loop.py"),
        ("shape (1, 4, 8, 8) / 2 and a/b", "shape (1, 4, 8, 8) / 2 and a/b"),
        ("https://example.org/x/y", "https://example.org/x/y"),
    ],
)
def test_folders_are_taken_out_of_what_is_told(text: str, shown: str) -> None:
    assert private(text) == shown


STOPPED = Verdict(
    "failed",
    "smoke",
    "Stopped early, after 4 pictures: its loss is 0.90 and surely above 0.5.",
    "Losses of 4 pictures: 0.900, 0.900, 0.900, 0.900.\nPSNR to the baseline's pictures in dB: 6.1.",
    loss=Interval(0.9, 0.9, 0.9),
    engines=(BuiltEngine("decoder", "openvino", "bf16", "the CPU", "the CPU", psnr=51.24),),
    stopped=True,
)
DRIFTED = Verdict(
    "quarantined",
    "gate",
    "The pictures differ from the declared recipe's as another precision's do (PSNR 52 dB): declare it.",
    latency=Interval(0.1, 0.1, 0.1),
    speedup=Interval(2.0, 2.0, 2.0),
    robustness={"seeds": "ok", "declared": "The pictures differ from the declared recipe's."},
    samples=(Sample("a secret moon", 1, "images/c001/00.png", {"psnr": 31.26, "adherence": 0.5}),),
    census=Census("trace", (Counted("denoiser", "16x16", "torch bf16", 4, 8),), "torch fp32", 2e9, {}, {}),
)


@pytest.mark.parametrize("wrong", [STOPPED, DRIFTED], ids=["stopped", "not its recipe's"])
@pytest.mark.parametrize(("preset", "code"), [(HYBRID, "Decode in one batch."), (PAPER, "")])
def test_a_script_whose_numbers_are_wrong_is_repaired_from_them(
    world: Any, wrong: Verdict, preset: Any, code: str
) -> None:
    said: list[str] = []
    answers = Answers(
        [[plan(("student", {}), code=code)]],
        ["# wrong"],
        ["# right"],
        watch=lambda body: said.append(body["messages"][0]["content"]),
    )
    with MessagesService(answers) as service:
        judge = Failing(world, lambda one: "wrong" in one.script, wrong)
        outcome = evolved(world, opened(service), judge, preset, settings_of(preset, 1, 1))
    assert [one.verdict.state for one in outcome.history[1:]] == [wrong.state, "passed"]
    assert answers.asked == ["plan", "code", "repair"]
    assert wrong.reason in said[2]


def test_a_recipe_that_loses_much_and_a_cheat_are_not_repaired(world: Any) -> None:
    recipe = world.space.canonical((world.step("student"),))
    plain = "def load(model, device, workload):\n    return build(plan(model, device, workload, RECIPE))\n"
    plain += "def generate(pipeline, prompts, seeds):\n    return pipeline.generate(prompts, seeds).images\n"
    declared = Candidate("c001", 1, Proposal(recipe, "", "new"), plain)
    own = Candidate("c002", 1, Proposal(recipe, "", "new", (), "More."), "# own")
    slow = replace(STOPPED, latency=Interval(9, 9, 9), speedup=Interval(0.1, 0.1, 0.1))
    kept = replace(DRIFTED, robustness={"repeat": "An identical request takes less time."})
    assert is_broken(own, STOPPED)
    assert not is_broken(declared, STOPPED)
    assert not is_broken(own, slow)
    assert not is_broken(own, kept)


def test_evidence_is_the_numbers_where_a_script_says_nothing(world: Any) -> None:
    told = evidence(DRIFTED, world.context)
    assert "psnr by picture in dB: 31.3." in told
    assert "denoiser 16x16, torch bf16: 4 calls, 8 rows" in told
    assert "Declared: torch fp32." in told
    assert "Check declared: The pictures differ" in told
    assert "secret" not in told
    assert "decoder on openvino bf16 51.2 dB" in evidence(STOPPED, world.context)
