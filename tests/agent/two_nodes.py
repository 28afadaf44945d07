"""A Ray cluster of two nodes on this machine, one processor each, until stdin closes; prints its addresses.

The first is the cluster's own, the second its client server's.
"""

from __future__ import annotations

import importlib
import json
import socket
import sys
from typing import Any


def main() -> None:
    tools: Any = importlib.import_module("ray.cluster_utils")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    head = {"num_cpus": 1, "include_dashboard": False, "ray_client_server_port": port}
    cluster = tools.Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(num_cpus=1)
    answers = sys.__stdout__
    assert answers is not None
    print(json.dumps([str(cluster.address), f"ray://127.0.0.1:{port}"]), file=answers, flush=True)
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    main()
