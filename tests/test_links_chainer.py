"""Every link and initializer against Chainer 7.8.1: the same seed, the same inputs, and the numbers that Chainer gave
(tests/link_cases.py)."""
import json

import link_cases
import numpy as np
import pytest

import hybridnn as hnn
import hybridnn.functions as F
from hybridnn import initializers, links

NUMBERS = json.loads(link_cases.NUMBERS.read_text())
CASES = link_cases.cases(hnn, links, initializers)


def test_chainer_gave_numbers_for_all_cases():
    assert set(NUMBERS) == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_same_parameters_outputs_and_gradients(name):
    found = link_cases.run(CASES[name], F.sum)
    assert set(found) == set(NUMBERS[name])
    for key, (shape, dtype, number) in NUMBERS[name].items():
        a = found[key]
        assert (list(a.shape), str(a.dtype)) == (shape, dtype), key
        if number is None:
            assert np.isnan(a).all(), key
            continue
        tolerance = 1e-12 if key == "next random number" else 1e-5 + 2e-5 * float(np.abs(a).sum())
        assert link_cases.fingerprint(a)[2] == pytest.approx(number, abs=tolerance), key
