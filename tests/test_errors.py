"""Mistakes that are easily made, and what the errors say: what was asked for, what came, and what to do."""
import traceback

import numpy as np
import pytest
from function_samples import SAMPLES
from link_cases import cases

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import errors, initializers, iterators, optimizers, serializers, training
from hybridnn.training import extensions, triggers


class Model(hnn.Chain):
    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.layer = L.Linear(3, 2)

    def forward(self, x):
        return self.layer(x)


class Careless(hnn.Chain):
    def __init__(self):      # without super().__init__()
        self.layer = L.Linear(3, 2)

    def forward(self, x):
        self.layer(x)


class CarelessList(hnn.ChainList):
    def __init__(self):
        self.n = 3


class Silent(Model):
    def forward(self, x):
        self.layer(x)


x, ids, labels = np.ones((4, 3), "f"), np.arange(12).reshape(4, 3), np.array([0, 1, 2, 1])
LINKS = cases(hnn, L, initializers)
images, wrong = np.ones((2, 8, 8, 3), "f"), hnn.Variable(np.ones((4, 3), "f"))


def set_up(optimizer=None):
    return (optimizer or optimizers.SGD()).setup(Model())


def updater():
    return training.StandardUpdater(iterators.SerialIterator(x, 2), set_up())


def assign(owner, name, value):
    setattr(owner, name, value)


def put(v):
    v[0] = 1.0


MISTAKES = {
    # shapes and dtypes
    "linear width": (lambda: L.Linear(5, 2)(x), errors.InvalidType, "x has 3 features per sample, W takes 5"),
    "linear list": (lambda: L.Linear(3, 2)([[1.0, 2.0, 3.0]]), errors.InvalidType, r"got: x: list.*\n  hint: numpy.asarray"),
    "list for a linear that takes its size from it": (lambda: L.Linear(None, 2)([[1.0]]), errors.InvalidType, r"Linear: .*\n  got: x: list.*\n  hint: numpy"),
    "linear of one sample": (lambda: L.Linear(3, 2)(x[0]), errors.InvalidType, r"hint: x\[None\]"),
    "linear of two": (lambda: hnn.Sequential(L.Linear(3, 2))(x, x), errors.InvalidType, "one array x.*\n.*n_batch_axes: float32.*\n  hint: F.concat"),
    "linear of two Variables": (lambda: L.Linear(3, 2)(wrong, wrong), errors.InvalidType, "one array x"),
    "size as text": (lambda: L.Linear("3", 2), errors.InvalidType, "shape of ints, zero or larger\n  got: \\(2, '3'\\)"),
    "size as float": (lambda: L.Linear(3, 2.0), TypeError, "shape of ints"),
    "negative size": (lambda: L.Linear(3, -2), ValueError, "zero or larger"),
    "channels": (lambda: L.Convolution2D(5, 4, 3)(np.ones((2, 3, 8, 8), "f")), errors.InvalidType, "x has 3 channels, on axis 1, W takes 5\n"),
    "channels last": (lambda: L.Convolution2D(3, 4, 3)(images), errors.InvalidType, r"x has 8 channels.*x.transpose\(0, 3, 1, 2\)"),
    "deconvolution": (lambda: L.Deconvolution2D(3, 4, 3)(images), errors.InvalidType, "x has 8 channels, on axis 1, W takes 3"),
    "one image": (lambda: L.Convolution2D(8, 4, 3)(images[0]), errors.InvalidType, r"hint: x\[None\] is a batch of one"),
    "ids": (lambda: L.EmbedID(2, 2)(labels), errors.InvalidType, "ids from 0 to 1\n  got: id 2\n  hint: an id is the number of a row"),
    "float labels": (lambda: F.softmax_cross_entropy(x, labels.astype("f")), errors.InvalidType, r"t.astype\('int32'\)"),
    "one-hot labels": (lambda: F.softmax_cross_entropy(x, np.eye(3, dtype="i")[labels]), errors.InvalidType, r"t.argmax\(axis=1\)"),
    "column of labels": (lambda: F.softmax_cross_entropy(x, labels[:, None]), errors.InvalidType, r"t\[:, 0\]"),
    "scores without classes": (lambda: F.accuracy(x[:, 0], labels), errors.InvalidType, "hint: scores have an axis of classes"),
    "float labels of sigmoid": (lambda: F.sigmoid_cross_entropy(x, x), errors.InvalidType, r"t.astype\('int32'\), or F.bernoulli_nll"),
    "float labels of hinge": (lambda: F.hinge(x, labels.astype("f")), errors.InvalidType, r"t.astype\('int32'\)"),
    "float ids": (lambda: L.EmbedID(4, 2)(x), errors.InvalidType, r"hint: x.astype\('int32'\)"),
    "sequences in an array": (lambda: L.NStepLSTM(1, 3, 4, 0.0)(None, None, x), errors.InvalidType, r"hint: \[x\] of one sequence"),
    "labels first": (lambda: F.softmax_cross_entropy(labels, x), errors.InvalidType, "scores come first"),
    "float labels of accuracy": (lambda: F.accuracy(x, labels.astype("f")), errors.InvalidType, r"t.astype\('int32'\)"),
    "matmul": (lambda: F.matmul(x, x), errors.InvalidType, "hint: the axes that are summed over have 3 and 4 elements"),
    "matmul of batches": (lambda: F.matmul(images[:, :, :3], images[:, :5, :3]), errors.InvalidType,
                          r"before the last two of \(2,8,3,3\) and \(2,5,3,3\) do not broadcast"),
    "column of targets": (lambda: F.mean_squared_error(x[:, :1], x[:, 0]), errors.InvalidType, r"hint: x1.reshape\(x0.shape\) has the same elements"),
    "condition": (lambda: F.where(x, x, x), errors.InvalidType, "got: dtype float32\n  hint: condition != 0"),
    "concat of two": (lambda: F.concat(x, x), errors.InvalidType, r"got: float32\[4,3\]\n  hint: several arrays are given as one list"),
    "relu of None": (lambda: F.relu(None), errors.InvalidType, "hint: x is None"),
    "loss of None": (lambda: F.softmax_cross_entropy(None, labels), errors.InvalidType, "a function that returns nothing gives None"),
    "ragged list": (lambda: hnn.as_variable([[1, 2], [3]]), errors.InvalidType, r"got: list \[\[1, 2\], \[3\]\]"),
    # Variables
    "float of many": (lambda: float(wrong), errors.InvalidType, r"float: expected a Variable with one element\n  got: float32\[4,3\]"),
    "int of many": (lambda: int(wrong), TypeError, "hint: F.sum"),
    "item of many": (lambda: wrong.item(), ValueError, "item: expected a Variable with one element.*\n.*\n  hint: F.sum"),
    "item assignment": (lambda: put(wrong), TypeError, "does not support item assignment\n  hint: F.where"),
    "requires_grad": (lambda: assign(wrong, "requires_grad", False), AttributeError, "hint: hnn.Variable"),
    "grad without lists": (lambda: hnn.grad(F.sum(wrong), wrong), errors.InvalidType, r"hint: grad\(\[y\], \[x\]\)"),
    "grad_outputs": (lambda: hnn.grad([wrong], [wrong], [wrong, wrong]), errors.InvalidType, "as many grad_outputs as outputs: 1"),
    # links
    "parameter of a list": (lambda: hnn.Parameter([1.0, 2.0]), errors.InvalidType, r"got: list \[1.0, 2.0\]\n  hint: Parameter\(numpy.asarray"),
    "parameter of a shape": (lambda: hnn.Parameter((3, 4)), TypeError, "an initializer.*\n  got: tuple"),
    "initializer": (lambda: L.Linear(3, 2, initialW="xavier"), TypeError, "got str\n  hint: initializers.GlorotUniform"),
    "keyword": (lambda: L.Convolution2D(3, 4, kernel_size=3), TypeError, "^Convolution2D.__init__.*'kernel_size'\n  hint: ksize$"),
    "two keywords": (lambda: L.Convolution2D(3, 4, 3, padding=1, colour=2), TypeError, "'colour', 'padding'\n  hint: pad$"),
    "keyword of dropout": (lambda: F.dropout(x, p=0.5), TypeError, r"^dropout\(\).*'p'\n  hint: ratio"),
    "training as a keyword": (lambda: F.dropout(x, training=True), TypeError, "'training'\n  hint: using_config"),
    "no super": (lambda: set_up().setup(Careless()), RuntimeError, r"^Link.__init__\(\) has not been called.$"),
    "no super, gradients": (lambda: Careless().cleargrads(), RuntimeError, "has not been called"),
    "no super, saving": (lambda: serializers.npz.serialize(Careless()), RuntimeError, "has not been called"),
    "no super, list": (lambda: CarelessList().append(L.Linear(2, 2)), RuntimeError, "has not been called"),
    "no super, members": (lambda: list(CarelessList()), RuntimeError, "has not been called"),
    "layers in a list": (lambda: hnn.Sequential([L.Linear(3, 2), F.relu]), ValueError, r"hint: Sequential\(\*layers\)"),
    "layer that was called": (lambda: hnn.Sequential(F.relu(x)), ValueError, "the function itself"),
    "class as layer": (lambda: hnn.Sequential(L.Linear), ValueError, r"got Linear\n  hint: Linear\(...\)"),
    "lossfun": (lambda: L.Classifier(Model(), lossfun="mse"), TypeError, "lossfun is a function.*got 'mse'"),
    # optimizers
    "no setup": (lambda: optimizers.SGD().update(), RuntimeError, r"SGD has no target yet\n  hint: call optimizer.setup\(link\)"),
    "no setup, loss": (lambda: optimizers.Adam().update(Model(), x), RuntimeError, "Adam has no target yet"),
    "setup with a class": (lambda: optimizers.SGD().setup(Model), TypeError, r"not the class Model\n  hint: optimizer.setup\(Model\(...\)\)"),
    "setup with a list": (lambda: optimizers.SGD().setup([Model()]), TypeError, "must be a link, not list"),
    "params": (lambda: optimizers.SGD(Model().params(), lr=0.1), TypeError, r"first lr; got generator\n  hint: SGD\(lr=...\).setup\(model\)"),
    "model": (lambda: optimizers.Adam(Model()), TypeError, "first alpha; got Model"),
    "lr of Adam": (lambda: optimizers.Adam(lr=0.1), TypeError, r"^Adam.__init__\(\).*'lr'\n  hint: .* is called alpha"),
    "lr of a made Adam": (lambda: assign(optimizers.AdamW(), "lr", 0.1), AttributeError, "the learning rate of AdamW is called alpha"),
    "learning_rate": (lambda: optimizers.SGD(learning_rate=0.1), TypeError, "is called lr"),
    "text as a number": (lambda: optimizers.SGD(lr="0.1"), TypeError, r"not texts: lr='0.1'\n  hint: float"),
    "schedule": (lambda: optimizers.Schedule(0.1), TypeError, "not float\n  hint: schedules.constant"),
    "momentum": (lambda: optimizers.SGD(momentum=0.9), TypeError, "hint: MomentumSGD"),
    "unknown hyperparameter": (lambda: optimizers.SGD(nothing=0.9), TypeError, "'nothing'$"),
    "update with a loss": (lambda: set_up().update(F.sum(wrong)), TypeError, r"not Variable\n  hint: loss.backward\(\), then"),
    "loss that is None": (lambda: optimizers.SGD().setup(Silent()).update(Silent(), x), TypeError, "returns None\n  hint: return loss"),
    # training
    "stop trigger": (lambda: training.Trainer(updater(), 3), TypeError, r"a pair such as \(3, 'epoch'\).*got 3"),
    "trigger": (lambda: triggers.get_trigger(7), TypeError, "got 7"),
    "extension by name": (lambda: training.Trainer(updater()).extend("LogReport"), TypeError, r"not 'LogReport'\n  hint: trainer.extend\(extensions.LogReport"),
    "class as extension": (lambda: training.Trainer(updater()).extend(extensions.LogReport), TypeError, "not the class LogReport"),
    "no extension": (lambda: training.Trainer(updater()).get_extension("LogReport"), ValueError, "hint: trainer.extend"),
    "entries": (lambda: extensions.PrintReport("epoch"), TypeError, r"hint: PrintReport\(\['epoch'\]\)"),
    "evaluator": (lambda: extensions.Evaluator(Model(), iterators.SerialIterator(x, 2)), TypeError, "got Model first"),
    "updater": (lambda: training.StandardUpdater(set_up(), iterators.SerialIterator(x, 2)), TypeError, "got SGD and SerialIterator"),
    "attribute to shift": (lambda: extensions.ExponentialShift("rate", 0.1, optimizer=set_up()).initialize(None), AttributeError, "hyperparameters are lr"),
    "dataset": (lambda: iterators.SerialIterator((i for i in range(3)), 2), TypeError, r"got generator\n  hint: list\(dataset\)"),
    # what else there is
    "save the other way round": (lambda: serializers.save_npz(Model(), "file.npz"), TypeError, r"got: str\n  hint: save_npz\(file, model\)"),
    "array as a model": (lambda: serializers.NpzDeserializer({}).load(x), TypeError, r"got: ndarray\n  hint: load_npz"),
    "no CuPy": (lambda: hnn.backends.cuda._NoCupy().array, AttributeError, "no cupy.array.*\n  hint: backend.get_array_module"),
    "config": (lambda: hnn.config.trian, AttributeError, "config has no key 'trian'.*\n  known: .*train"),
    "trace of a mode": (lambda: hnn.trace("pure"), TypeError, r"got str\n  hint: trace\(mode=...\)"),
    "trace of a result": (lambda: hnn.trace(F.relu(x)), TypeError, r"got Variable\n  hint: trace\(step\)\(x\)"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_explained(name):
    make, kind, text = MISTAKES[name]
    with pytest.raises(kind, match=text) as info:
        make()
    assert info.type is not AssertionError


@pytest.mark.parametrize("name", [name for name, (_, kind, _) in MISTAKES.items() if kind is errors.InvalidType])
def test_the_line_is_named(name):
    with pytest.raises(errors.InvalidType, match=rf"at .*{__name__.rpartition('.')[2]}.py:\d+ in "):
        MISTAKES[name][0]()


@pytest.mark.parametrize("traced", [False, True])
def test_a_sequential_says_which_layer_it_was(traced):
    inner = hnn.Sequential(L.Linear(5, 4), F.relu)
    net = hnn.Sequential(L.Linear(3, 4), F.relu, inner, lambda x: x.nothing)
    call = hnn.trace(lambda x: net(x)) if traced else net
    for _ in range(3):
        with pytest.raises(errors.InvalidType, match="x has 4 features per sample, W takes 5") as info:
            call(x)
        assert info.value.__notes__ == ["in layer 0 of a Sequential of 2: Linear(in_size=5, out_size=4, nobias=False)",
                                        "in layer 2 of a Sequential of 4: Sequential"]
    inner[0] = L.Linear(4, 4)
    with pytest.raises(AttributeError) as info:
        call(x)
    assert info.value.__notes__ == ["in layer 3 of a Sequential of 4: <lambda>"]


@pytest.mark.filterwarnings("ignore")      # some functions are deprecated, and numbers that remain may not fit
def test_what_is_no_array_is_refused_by_name():
    """In place of each operand of every function."""
    found = []
    for name, samples in SAMPLES.items():
        arrays = samples[0].arrays(name, np.float32)
        for k, a in enumerate(arrays):
            for other in (None, "text", a.tolist()):
                try:
                    samples[0].call(name)(*arrays[:k], other, *arrays[k + 1:])
                except AttributeError as error:
                    found += [(name, k, other, error)] if errors.is_own(traceback.extract_tb(error.__traceback__)[-1].filename) else []
                except (errors.HybridnnError, TypeError, ValueError, IndexError):
                    pass
    assert found == []


@pytest.mark.parametrize("name", [name for name, (make, _) in LINKS.items() if type(make()) is not hnn.Link])
@pytest.mark.parametrize("given", [None, "text", [[1.0, 2.0]]], ids=["None", "text", "list"])
def test_links_refuse_what_is_no_array(name, given):
    """Also those that take their shapes from it."""
    with pytest.raises((errors.HybridnnError, TypeError, ValueError)):
        LINKS[name][0]()(given)


def test_attributes_that_are_not_there():
    assert not hasattr(hnn.config, "user_nothing") and getattr(hnn.config, "user_nothing", 3) == 3
    assert not hasattr(hnn.Link(), "_children") and not hasattr(optimizers.SGD(), "momentum")


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_explained_in_a_traced_function(name):
    """In the same words, on every call; the line is that of the mistake."""
    make, kind, text = MISTAKES[name]

    @hnn.trace
    def call(x):
        h = F.tanh(x) * 2
        make()
        return h

    for _ in range(6):
        with pytest.raises(kind, match=text) as info:
            call(x)
        assert kind is not errors.InvalidType or f"at {__file__}:" in str(info.value)
