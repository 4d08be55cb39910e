"""One training step of a 64-128-128-10 network, batch 32, Adam: eager against traced in one run, timed in turn.

usage: [PEERS_PYTHON=/path/to/python] python benchmarks/mlp_small.py
"""

import os
import sys

from common import interleaved
from compare import PEERS, measure
from ours import mlp

import hybridnn as hnn

WANTED = 4.0      # eager / traced


def main():
    with hnn.using_config("trace_compile", "sync"):
        us = interleaved({"eager": mlp("mlp_small", lambda f: f), "traced": mlp("mlp_small", hnn.trace)}, budget=3.0)
    python = os.environ.get("PEERS_PYTHON")
    peers = {name: measure(python, script, name, "mlp_small", 300).us for name, script in PEERS.items() if python}
    for name, value in (us | peers).items():
        print(f"{name:8}{value:10.1f} us   {value / us['traced']:6.2f} x traced")
    ratio = us["eager"] / us["traced"]
    print(f"eager / traced = {ratio:.2f} (wanted: at least {WANTED:.0f})")
    return ratio < WANTED


if __name__ == "__main__":
    sys.exit(main())
