"""Variables as Chainer has them: gradients that backward uses up, creators and ranks, texts."""
import copy
import io
import pickle

import numpy as np
import pytest

import hybridnn as hnn
import hybridnn.functions as F


class Double(hnn.Function):
    def forward(self, inputs):
        return inputs[0] * 2,

    def backward(self, inputs, grad_outputs):
        return grad_outputs[0] * 2,


def chain(n):
    values = [hnn.Variable(np.ones(3, np.float32), name="x")]
    for _ in range(n):
        values.append(Double()(values[-1]))
    return values


# ---------------------------------------------------------------------------------------------------------------- backward

@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("retain", [False, True])
def test_backward_uses_up_the_gradient_of_its_output(traced, retain):
    def step(x):
        loss = F.sum(x * x)
        loss.backward(retain_grad=retain)
        return loss

    run = hnn.trace(step) if traced else step
    for _ in range(12):
        x = hnn.Variable(np.float32([1, 2]))
        loss = run(x)
        assert x.grad.tolist() == [2, 4]
        assert (loss.grad is None) is not retain
        assert loss.creator is not None


def test_backward_uses_up_a_gradient_that_was_set():
    x = hnn.Variable(np.float32([1, 2]))
    y = x * 3
    y.grad = np.float32([1, 10])
    y.backward()
    assert (y.grad, x.grad.tolist()) == (None, [3, 30])
    y.grad_var = g = hnn.Variable(np.float32([1, 1]))
    y.backward(retain_grad=True)
    assert y.grad_var is g
    assert x.grad.tolist() == [6, 33]


def test_grad_retains_the_gradients_of_intermediate_variables_alone():
    x = hnn.Variable(np.float32([1, 2]))
    y = x * 3
    z = y * y
    gx, = hnn.grad([z], [x], retain_grad=True)
    assert (gx.array.tolist(), z.grad.tolist(), y.grad.tolist(), x.grad) == ([18, 36], [1, 1], [6, 12], None)


def test_backward_leaves_the_gradient_of_a_leaf():
    x = hnn.Variable(np.array(1.0), grad=np.array(5.0))
    x.backward()
    assert x.grad == 5


def test_zerograd_fills_the_array_that_is_there():
    x = hnn.Variable(np.ones(2, np.float32))
    x.grad_var = g = hnn.Variable(np.ones(2, np.float32)) * 2
    with pytest.warns(DeprecationWarning):
        x.zerograd()
    assert x.grad is g.array
    assert (g.array.tolist(), g.creator) == ([0, 0], None)


# ------------------------------------------------------------------------------------------------------- creators and ranks

def test_ranks_count_applications():
    x, y, z = chain(2)
    assert [v.rank for v in (x, y, z)] == [0, 1, 2]
    assert (y.creator.rank, z.creator_node.rank, z.node.rank) == (0, 1, 2)
    assert ((z * z).creator.rank, hnn.FunctionNode().rank) == (2, 0)


def test_a_variable_keeps_its_rank_without_its_creator():
    _, y, z = chain(2)
    y.creator = None
    assert (y.creator, y.creator_node, y.rank, z.rank) == (None, None, 1, 2)
    z = F.exp(y)
    z.unchain()
    assert (z.rank, (z + 1).rank) == (2, 3)


def test_a_creator_can_be_set_again():
    x, y, z = chain(2)
    node = y.creator_node
    y.creator_node = None
    y.creator_node = node
    z.grad = np.ones(3, np.float32)
    z.backward()
    assert y.creator_node is node
    assert x.grad.tolist() == [4] * 3


def test_a_fresh_creator():
    for v in (hnn.Variable(), hnn.Variable(np.ones(2))):
        f, node = Double(), hnn.FunctionNode()
        v.set_creator(f)
        assert (v.creator, v.creator_node, v.rank) == (f, f.node, 1)
        node.rank = 10
        v.set_creator_node(node)
        assert (v.creator, v.rank) == (node, 11)
    with pytest.raises(TypeError, match="FunctionNode"):
        v.creator_node = 3
    with pytest.raises(TypeError, match="OpNode"):
        v.creator_node = (v * 2).creator


# ------------------------------------------------------------------------------------------------------------------ the rest

def test_chainers_inner_names():
    a = np.ones(2, np.float32)
    v = hnn.Variable._init_unchecked(a, name="v", requires_grad=False)
    assert (v.array is a, v.name, v.requires_grad) == (True, "v", False)
    p = hnn.Parameter(shape=2)
    assert p._grad is p.grad
    with pytest.raises(ValueError, match="grad"):
        hnn.variable.VariableNode(v, "", grad=None)


def test_a_node_keeps_the_array_and_takes_a_creator():
    v = hnn.Variable(np.ones(2, np.float32))
    node, a = v.node, v.array
    node.retain_data()
    del v
    assert node.data is a
    with pytest.raises(RuntimeError, match="released"):
        node.retain_data()

    class Twice(hnn.FunctionNode):
        def forward(self, inputs):
            return 2 * inputs[0],

    f, v = Twice(), hnn.Variable(np.ones(2, np.float32))
    v.node.set_creator_node(f)
    assert v.creator_node is f
    v.node.set_creator(None)
    assert v.creator is None


def test_truth_of_several_elements():
    v = hnn.Variable(np.ones(2))
    for error in (TypeError, ValueError):
        with pytest.raises(error, match="one element"):
            bool(v)
    with pytest.raises(TypeError, match="one element"):
        hnn.trace(lambda x: bool(x * 2))(v)


def test_debug_print():
    assert hnn.Variable(name="q").debug_print().splitlines() == ["<variable q>", *[
        f"- {fact}: None" for fact in ("device", "backend", "shape", "dtype", "statistics", "grad")]]
    v = hnn.Variable(np.full((2, 3), 2.0), name="q", grad=np.zeros((2, 3)))
    assert v.debug_print().splitlines()[1:] == [
        "- device: CPU", "- backend: <class 'numpy.ndarray'>", "- shape: (2, 3)", "- dtype: float64",
        "- statistics: mean=2.00000000, std=0.00000000", "- grad: 0"]


# --------------------------------------------------------------------------------------------- what functions may give and do

class Gives(hnn.Function):
    def __init__(self, gradient):
        self.gradient = gradient

    def forward(self, inputs):
        return inputs[0] + 1,

    def backward(self, inputs, grad_outputs):
        return self.gradient,


@pytest.mark.parametrize(("gradient", "error", "what"), [
    (1, TypeError, "array"), (np.zeros(2), TypeError, "dtype"), (np.zeros(3, np.float32), ValueError, "shape")])
@pytest.mark.parametrize("debug", [False, True])
def test_gradients_of_a_function_are_checked(gradient, error, what, debug):
    with hnn.using_config("debug", debug):
        y = Gives(gradient)(hnn.Variable(np.zeros(2, np.float32)))
        y.grad = np.ones(2, np.float32)
        with pytest.raises(error, match=what) as caught:
            y.backward()
    assert "Gives" in str(caught.value)
    assert ("Stacktrace" in str(caught.value) and "y = Gives(gradient)" in str(caught.value)) is debug


def test_debug_mode_says_where_an_operation_was_applied():
    with hnn.using_config("debug", True), np.errstate(divide="raise"):
        y = F.sqrt(hnn.Variable(np.zeros(())))
        with pytest.raises(FloatingPointError, match=r"divide(.|\n)*y = F.sqrt"):
            y.backward()


class Some(hnn.FunctionNode):
    def forward(self, inputs):
        self.retain_outputs((0, 1))
        return None, inputs[0] * 3, None

    def backward(self, target_input_indexes, grad_outputs):
        self.seen = [y.array for y in self.get_retained_outputs()], grad_outputs
        return grad_outputs[1] * 3,


def test_outputs_may_be_none():
    x, f = hnn.Variable(np.float32([1, 2])), Some()
    none, y, _ = f.apply((x,))
    assert (none.array, y.array.tolist()) == (None, [3, 6])
    y.grad = np.float32([1, 1])
    y.backward()
    assert x.grad.tolist() == [3, 3]
    assert f.seen[0][0] is None
    assert f.seen[1][0] is f.seen[1][2] is None


def test_the_gradient_of_a_function_cannot_be_differentiated():
    x = hnn.Variable(np.zeros(()))
    Double()(F.exp(x)).backward(enable_double_backprop=True)
    assert x.grad == 2
    with pytest.raises(RuntimeError, match="Double is a Function"):
        x.grad_var.backward()


def test_a_parameter_without_an_array_may_know_its_dtype():
    assert hnn.Parameter(hnn.initializers.Zero("float16")).dtype == np.float16
    with pytest.raises(RuntimeError, match="no array"):
        hnn.Parameter().dtype


def test_a_parameter_without_an_array_has_no_gradient_before_it_is_cleared():
    p = hnn.Parameter()
    assert p.share().grad is None
    for unborn in p, copy.deepcopy(p), pickle.loads(pickle.dumps(p)):
        with pytest.raises(RuntimeError, match="cleargrad"):
            unborn.grad
        assert unborn.grad_var is None
        unborn.cleargrad()
        assert unborn.grad is None
    q = hnn.Parameter()
    q.initialize(2)
    assert np.isnan(q.grad).all()
    assert hnn.links.Linear(None, 2).copy("share").W.grad is None


def test_labels_tell_shape_and_dtype():
    for shape, label in ((), "float32"), ((1,), "(1), float32"), ((2, 5), "(2, 5), float32"):
        x = hnn.Variable(np.zeros(shape, "f"), name="x")
        assert x.label == x.node.label == label


def test_mixed16_is_a_dtype():
    assert np.zeros(2, hnn.mixed16).dtype == np.float16
    assert (repr(hnn.mixed16), hnn.get_dtype(hnn.mixed16)) == ("dtype('mixed16')", np.float16)
    assert copy.deepcopy(hnn.mixed16) is pickle.loads(pickle.dumps(hnn.mixed16)) is hnn.mixed16
    assert hnn.links.BatchNormalization(3, dtype=hnn.mixed16).gamma.dtype == np.float32


def test_the_configured_dtype_compares_with_dtypes():
    assert hnn.config.dtype == np.float32 and hnn.global_config.dtype.kind == "f"


def test_configurations_are_shown_as_a_table():
    out = io.StringIO()
    hnn.config.show(out)
    lines = out.getvalue().splitlines()
    names = [line.split()[0] for line in lines]
    assert names == sorted(names) and f"{'train':<{max(map(len, names))}} True" in lines


@pytest.mark.parametrize("change", [lambda p: setattr(p, "array", p.array * 0.5), lambda p: setattr(p, "grad", np.asarray(p.grad * 0.5)),
                                    lambda p: F.sum(p * 2).backward(), lambda p: p.addgrad(p)])
def test_arrays_without_axes_stay_arrays(change):
    """NumPy makes numbers of its own of them."""
    p = hnn.Parameter(np.full((), 0.5, "f"))
    f = hnn.trace(lambda: F.tanh(p) * 2)
    for _ in range(3):
        p.grad = np.ones((), "f")
        change(p)
        assert type(p.array) is type(p.grad) is type(f().array) is np.ndarray


def test_gradients_are_arrays():
    """As in Chainer: a number of NumPy's is none."""
    x = hnn.Variable(np.empty((), "f"))
    with pytest.raises(TypeError, match="grad"):
        x.grad = np.float32(1)


def test_a_configuration_block_once_more():
    """It may be entered again when it has ended, and decorate functions that call each other; not begin twice."""
    block = hnn.using_config("train", False)

    @block
    def depth(n):
        assert not hnn.config.train
        return 1 + depth(n - 1) if n else 0
    assert depth(3) == 3 and hnn.config.train
    with block, pytest.raises(RuntimeError, match="has begun already"), block:
        pass
    with block:
        assert not hnn.config.train
    assert hnn.config.train


def test_configuration_blocks_put_back_what_was_there():
    with hnn.using_config("train", 1), hnn.using_config("train", 2):
        hnn.config.train = 3
    assert hnn.config.train is True
    with hnn.using_config("train", 1):
        with hnn.using_config("train", 2):
            del hnn.config.train
        assert hnn.config.train == 1
        del hnn.config.train
    assert hnn.config.train is True


def test_an_unknown_key_is_told_where_it_is_used():
    with pytest.warns(UserWarning, match="no such key") as told, hnn.using_config("trian", False):
        pass
    assert told[0].filename == __file__


def test_a_copy_is_a_leaf_of_its_own():
    x = hnn.Variable(np.ones(2, "f"), name="x", grad=np.full(2, 5, "f"))
    y = x * 2
    used, later = copy.copy(x), copy.copy(y)
    assert used.array is x.array and used.grad is x.grad and used.name == "x" and later.array is y.array and later.creator is None
    x.cleargrad()
    assert used.grad.tolist() == [5, 5]
    F.sum(later * 3 + used).backward()
    assert x.grad is None and later.grad.tolist() == [3, 3] and used.grad.tolist() == [6, 6]
