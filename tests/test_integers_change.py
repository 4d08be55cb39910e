"""Labels, indices and lengths that change between the calls of a compiled path: results, shapes and errors are those of the function without the trace."""
import numpy as np
import pytest
from function_samples import SAMPLES

import hybridnn as hnn

OTHERS = {"zeros": np.zeros_like, "ones": np.ones_like, "reversed": lambda t: t.reshape(-1)[::-1].reshape(t.shape).copy(), "next": lambda t: t + 1,
          "previous": lambda t: t - 1, "negative": lambda t: -t, "large": lambda t: t + 100}
WITH_INTEGERS = [(name, k) for name, samples in SAMPLES.items() for k, s in enumerate(samples)
                 if any(a.dtype.kind in "iu" for a in s.arrays(name, "float32"))]


def outcome(fn, arrays):
    """What a call gives, as arrays, or the error that it raises."""
    np.random.seed(3)
    try:
        with np.errstate(all="ignore"):
            found = fn(*[hnn.Variable(a) if a.dtype.kind == "f" else a for a in arrays])
    except Exception as error:
        return type(error).__name__, str(error)
    return [v.array if isinstance(v, hnn.Variable) else v for v in flat(found)]


def flat(x):
    return [v for e in x for v in flat(e)] if isinstance(x, (tuple, list)) else [x]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name, k", WITH_INTEGERS)
def test_other_integers(name, k):
    sample = SAMPLES[name][k]
    fn, given = sample.call(name), sample.arrays(name, "float32")
    traced = hnn.trace(lambda *xs: fn(*xs))
    with hnn.using_config("trace_compile", "sync"):
        for _ in range(6):
            traced(*given)
        for change in OTHERS.values():
            arrays = [change(a) if a.dtype.kind in "iu" else a for a in given]
            expected = outcome(fn, arrays)
            for found in (outcome(traced, arrays), outcome(traced, arrays)):
                if isinstance(expected, tuple):
                    assert found[0] == expected[0] and found[1].split("\n  at ")[0] == expected[1].split("\n  at ")[0]
                else:
                    for y, e in zip(found, expected, strict=True):
                        np.testing.assert_allclose(y, e, rtol=1e-4, atol=1e-5, equal_nan=True)


def test_labels_that_no_class_has_are_refused_in_the_gradient_too():
    """The step that looks at the labels serves both directions."""
    def f(x, t):
        loss = hnn.functions.sum(hnn.functions.softmax_cross_entropy(x, t, reduce="no"))
        loss.backward()
        return loss
    traced = hnn.trace(f)
    with hnn.using_config("trace_compile", "sync"):
        for _ in range(6):
            traced(hnn.Variable(np.ones((3, 4), "f")), np.array([0, 1, 3]))
        for labels in ([0, 1, 4], [0, -2, 1]):
            with pytest.raises(hnn.errors.InvalidType, match="labels from 0 to 3"):
                traced(hnn.Variable(np.ones((3, 4), "f")), np.array(labels))
