"""Equal values that are not the same."""
import numpy as np
import pytest

from hybridnn.exact import checker, exact

ONES = [1, 1.0, True, np.int64(1), np.int32(1), np.float64(1), np.float32(1), np.bool_(True), np.array(1), 1 + 0j, "1"]
ZEROS = [0, 0.0, -0.0, False, np.float64(0.0), np.float64(-0.0), np.array([0.0]), np.array([-0.0]), complex(0.0, -0.0), 0j]


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: (x,), lambda x: [2, (x, None)], lambda x: {"a": x}, lambda x: slice(x, 2)])
@pytest.mark.parametrize("values", [ONES, ZEROS])
def test_keys_tell_types_and_signs(values, wrap):
    keys = [exact(wrap(x)) for x in values]
    for i, key in enumerate(keys):
        assert [key == other for other in keys] == [i == k for k in range(len(keys))]
        assert key == exact(wrap(values[i]))


def test_keys_of_sets_and_nans():
    assert exact(frozenset([1, 2])) == exact(frozenset([2, 1])) != exact(frozenset([True, 2]))
    assert exact(float("nan")) == exact(float("nan"))


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: (x, 3), lambda x: (("slice", None, x, ...), "a"), lambda x: (x,) * 40])
@pytest.mark.parametrize("values", [ONES[:8], ZEROS[:6]], ids=["ones", "zeros"])
def test_attributes_are_told_apart(values, wrap):
    for x in values:
        fits = checker({"axis": wrap(x), "keepdims": True, "dtype": np.dtype("f")})
        for y in values:
            given = {"axis": wrap(y), "keepdims": True, "dtype": np.dtype("f")}
            assert fits(given) is (exact(x) == exact(y)), (x, y)
        assert not fits({"axis": wrap(x), "keepdims": 1, "dtype": np.dtype("f")})
        assert not fits({"axis": wrap(x), "keepdims": True, "dtype": "f"})


def test_no_attributes_are_the_same():
    assert checker({})({})
