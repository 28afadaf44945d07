"""A Ray cluster of two nodes on this machine, one processor each, until stdin closes; prints its address."""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any


def main() -> None:
    tools: Any = importlib.import_module("ray.cluster_utils")
    cluster = tools.Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    answers = sys.__stdout__
    assert answers is not None
    print(json.dumps(str(cluster.address)), file=answers, flush=True)
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    main()
