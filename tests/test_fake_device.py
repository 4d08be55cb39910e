"""The library with a stand-in for CuPy, which has to be there when hybridnn is imported: in a process of its own."""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.timeout(600)
def test_everything_on_the_stand_in():
    """``tests/fake_device.py`` holds the tests."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": str(ROOT / "tests" / "fake_cupy"), "HYBRIDNN_TEST_CACHE": os.environ["HYBRIDNN_CACHE"]}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/fake_device.py"]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    passed, = re.findall(r"^(\d+) passed", run.stdout, re.M)
    assert int(passed) > 1000
