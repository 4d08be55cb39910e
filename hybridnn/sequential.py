"""``Sequential``: links and functions called one after another."""
import copy
import inspect

from hybridnn.link import ChainList, Link, repeats_in

__all__ = ["Sequential"]


@repeats_in
class Sequential(ChainList):
    """A list of layers (links and other callables); calling it feeds each one's output to the next.

    A layer that returns a tuple passes several arguments on. Only links have parameters, are counted as children and are
    numbered, among themselves, for saving: as Chainer numbers them, whose files would not fit otherwise. There every link that is
    appended becomes the child right behind the first one, so that four links are the children 0, 3, 2, 1. ``list(model)`` has the order
    of the calls.

    Args:
        layers: callables.
    """

    def __init__(self, *layers):
        super().__init__()
        self._layers = []
        self.extend(layers)

    def forward(self, *x):
        """Call the layers in turn; raises ``RuntimeError`` if there are none."""
        if not self._layers:
            raise RuntimeError("an empty Sequential was called; append a layer first")
        for layer in self._layers:
            try:
                x = layer(*x) if isinstance(x, tuple) else layer(x)
            except Exception as error:
                error.add_note(self._place_of(layer))
                raise
        return x

    def _place_of(self, layer):
        """Which layer this is, in words."""
        i = next(i for i, each in enumerate(self._layers) if each is layer)
        what = getattr(layer, "__name__", None) or str(layer).partition("\n")[0].rstrip("(")
        return f"in layer {i} of a Sequential of {len(self._layers)}: {what}"

    # ---- as a list

    def __len__(self):
        return len(self._layers)

    def __getitem__(self, i):
        return self._layers[i]

    def __setitem__(self, index, layer):
        if not -len(self) <= index < len(self):
            raise ValueError(f"position {index} of a Sequential with {len(self)} layers")
        _check_layer(layer)
        index %= len(self)
        if self._layers[index] is not layer:
            del self[index]
            self.insert(index, layer)

    def __delitem__(self, index):
        removed = self._layers[index]
        del self._layers[index]
        self._forget(removed if isinstance(index, slice) else [removed])

    def __iter__(self):
        return iter(self._layers)

    def __reversed__(self):
        return reversed(self._layers)

    def __contains__(self, item):
        return item in self._layers

    def insert(self, i, layer):
        """Put a layer before position ``i`` (from ``-len`` to ``len``)."""
        if not -len(self) <= i <= len(self):
            raise IndexError(f"cannot insert at {i} into a Sequential with {len(self)} layers")
        _check_layer(layer)
        i += len(self) if i < 0 else 0
        self._layers.insert(i, layer)
        if isinstance(layer, Link):
            self._children.insert(_child_position(self._layers, i), layer)
            self._number()

    def append(self, layer):
        """Add a layer at the end."""
        self.insert(len(self), layer)

    def extend(self, sequential):
        """Add the layers of a Sequential, or of any other iterable, at the end."""
        for layer in list(sequential):
            self.append(layer)

    def remove(self, layer):
        """Remove the first occurrence of a layer."""
        if layer not in self._layers:
            raise ValueError(f"the Sequential has no layer {layer}")
        del self[self._layers.index(layer)]

    def remove_by_layer_type(self, type_name):
        """Remove every link whose class, and every function whose name, is ``type_name``."""
        removed = [layer for layer in self._layers if _type_name(layer) == type_name]
        self._layers = [layer for layer in self._layers if _type_name(layer) != type_name]
        self._forget(removed)

    def pop(self, i=-1):
        """Remove a layer and return it."""
        layer = self._layers.pop(i)
        self._forget([layer])
        return layer

    def clear(self):
        """Remove all layers."""
        self._layers, self._children = [], []

    def index(self, layer, start=None, end=None):
        """Position of a layer; ``ValueError`` if it is not there."""
        return self._layers.index(layer, start or 0, len(self) if end is None else end)

    def count(self, layer):
        """How often a layer occurs."""
        return self._layers.count(layer)

    def count_by_layer_type(self, type_name):
        """How many links have that class name, or functions that name."""
        return sum(_type_name(layer) == type_name for layer in self._layers)

    def _forget(self, layers):
        """Take layers that are gone from the children."""
        for layer in layers:
            if isinstance(layer, Link):
                del self._children[next(i for i, child in enumerate(self._children) if child is layer)]
        self._number()

    # ---- arithmetic

    def __add__(self, other):
        return Sequential(*self, *_layers_of(other))

    def __iadd__(self, other):
        self.extend(_layers_of(other))
        return self

    def flatten(self):
        """A Sequential without Sequentials inside."""
        flat = Sequential()
        for layer in self._layers:
            flat.extend(layer.flatten() if isinstance(layer, Sequential) else [layer])
        return flat

    # ---- copies

    def _shared(self):
        copied = Link._shared(self)
        layers = [layer.copy("share") if isinstance(layer, Link) else copy.copy(layer) for layer in self._layers]
        copies = {}
        for layer, other in zip(self._layers, layers, strict=True):
            copies.setdefault(id(layer), []).append(other)
        copied.__dict__.update(_layers=layers, _children=[copies[id(child)].pop(0) for child in self._children])
        copied._number()
        return copied

    def copyparams(self, link, copy_persistent=True):
        """Copy the parameters of another Sequential of the same structure."""
        if not isinstance(link, Sequential):
            raise ValueError(f"the parameters of a Sequential come from a Sequential; got {type(link).__name__}")
        super().copyparams(link, copy_persistent)

    def __deepcopy__(self, memo):
        copied = object.__new__(type(self))
        memo[id(self)] = copied
        copied.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return copied

    def __reduce_ex__(self, protocol):
        if any(getattr(layer, "__name__", None) == "<lambda>" for layer in self._layers):
            raise ValueError("a Sequential that holds a lambda cannot be pickled; "
                             "use a named function or functools.partial in its place")
        return super().__reduce_ex__(protocol)

    def __str__(self):
        return self._str_of((i, _text(layer)) for i, layer in enumerate(self._layers))


def _child_position(layers, index):
    """Where Chainer puts the link at ``layers[index]`` among the children: behind as many as there are layers up to the first link."""
    if index == 0:
        return 0
    return next((i for i in range(index) if isinstance(layers[i], Link)), 0) + 1


def _check_layer(layer):
    if isinstance(layer, type) and issubclass(layer, Link):
        raise ValueError(f"the layers of a Sequential are links, not their classes; got {layer.__name__}\n  hint: {layer.__name__}(...)")
    if not callable(layer):
        raise ValueError(f"the layers of a Sequential are callable; got {type(layer).__name__} {' '.join(repr(layer).split()):.60}\n  hint: {_meant(layer)}")


def _meant(layer):
    """What may have been meant by what is no layer."""
    if isinstance(layer, (list, tuple)):
        return "Sequential(*layers)"
    return "a layer is the function itself, such as F.relu, not what it returns" if hasattr(layer, "shape") else "links, and functions of what comes before"


def _layers_of(other):
    if not isinstance(other, Sequential):
        raise ValueError(f"a Sequential can be added to a Sequential only; got {type(other).__name__}")
    return list(other)


def _type_name(layer):
    return type(layer).__name__ if isinstance(layer, Link) else getattr(layer, "__name__", type(layer).__name__)


def _text(layer):
    """A layer as ``str`` shows it; a lambda by its source if that is at hand."""
    if getattr(layer, "__name__", None) == "<lambda>":
        try:
            return inspect.getsource(layer).strip().rstrip(",")
        except (OSError, TypeError):
            pass
    return str(layer)
