"""The CUDA text in Numba's simulator, which has to be chosen before Numba is imported: in a process of its own."""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.timeout(600)
def test_every_kernel_in_the_simulator():
    """``tests/cuda_simulated.py`` holds the tests."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    environment |= {"NUMBA_ENABLE_CUDASIM": "1", "HYBRIDNN_TEST_CACHE": os.environ["HYBRIDNN_CACHE"]}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/cuda_simulated.py"]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    passed, = re.findall(r"^(\d+) passed", run.stdout, re.M)
    assert int(passed) > 500
