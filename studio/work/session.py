"""The heavy part of a run: the judge, the loop, certification, under one roof."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from agent.candidate import Candidate, Proposal
from agent.coder import ScriptWriter
from agent.debugger import RuleDebugger
from agent.evaluate.judge import Judge
from agent.evolution.choice import to_certify, winner
from agent.evolution.front import BASELINE, front, hypervolume, knee, reference_point
from agent.evolution.space import joint_space
from agent.loop import Outcome, Settings, evolve
from agent.memory import Memory
from agent.planner.builtin import BuiltinPlanner
from agent.planner.context import Context
from engines.errors import WorkloadError
from engines.models.card import Card, describe
from engines.models.load import open_model
from engines.workload import Workload
from studio.record import events
from studio.work.convert import judged_with_scripts
from studio.work.job import Job
from studio.work.machine import describe_machine, fields_of
from studio.work.recorder import Abandoned, Recorder
from studio.work.runs import OpenRun

ADHERENCE_CLAIM: Final = "adherence loss under 2 points"
PSNR_CLAIM: Final = "PSNR of 30 dB or more"
