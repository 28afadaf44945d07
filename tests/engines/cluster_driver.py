"""Deploys stub engines on a local Ray cluster, then does what it is told, line by line.

python -m tests.engines.cluster_driver PORT      threshold T | plan | replicas, one JSON line each
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

from engines.package.serving.cluster import NAME, Plan, application, run
from engines.package.serving.values import Settings, Tuning
from tests.engines.serving_client import MODEL

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    ray: Any = importlib.import_module("ray")
    serve: Any = importlib.import_module("ray.serve")
    settings = Settings(0.5, Tuning(4, 0.005, 1), Tuning(4, 0.005, 2))
    plan = Plan(settings, queue=400, engines="tests.engines.stub_engine:make", cpus=0.2)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    handle = run(application(ROOT, MODEL, plan), host="127.0.0.1", port=int(sys.argv[1]))
    answers = sys.__stdout__
    assert answers is not None
    print(json.dumps("ready"), file=answers, flush=True)
    for line in sys.stdin:
        name, _, value = line.strip().partition(" ")
        found: Any = None
        if name == "threshold":
            found = handle.set_threshold.remote(float(value)).result()
        elif name == "plan":
            found = handle.plan.remote().result()
        elif name == "replicas":
            deployments = serve.status().applications[NAME].deployments
            found = {role: one.replica_states.get("RUNNING", 0) for role, one in deployments.items()}
        print(json.dumps(found), file=answers, flush=True)
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
