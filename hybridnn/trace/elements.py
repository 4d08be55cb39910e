"""Elements of Variables at places that Python's ints tell. Such an int belongs to the path, until another one is met at the same line: from then on it is
data there (a label, an action), and an operand, as ints of NumPy's are from the first."""
from hybridnn.core.indexing import get_item, opened, take
from hybridnn.core.variable import Variable
from hybridnn.errors import user_line

__all__ = ["as_operands", "match_element", "open_axes"]


def _entries(op, attrs):
    """The index by which an operation takes one element of its operand, or None; what is an operand is a tuple there."""
    index = attrs["index"] if op is get_item else attrs["pattern"] if op is take else ()
    return index if all([type(i) is int or type(i) is tuple and i[0] == "array" for i in index]) else None


def _takes_element(x, index):
    return isinstance(x, Variable) and len(index) == x.ndim and all([type(i) is int for i in index]) and x.dtype.kind == "f"


def _fits(event, index):
    """Whether an event takes an element at ints that are operands, and at those of ``index`` beside them."""
    if event.op is not take:
        return False
    known = _entries(take, event.attrs)
    return known is not None and len(known) == len(index) and all([type(i) is tuple or i == j for i, j in zip(known, index, strict=True)])


def open_axes(call, x, index):
    """Along which axes the event that comes next takes the ints of ``x[index]`` as operands."""
    index = index if type(index) is tuple else (index,)
    if not call.owner.choosing or not _takes_element(x, index):
        return ()
    return next((_axes(e) for e in call.cursor.children if _fits(e, index)), ())


def _axes(event):
    return [k for k, i in enumerate(event.attrs["pattern"]) if type(i) is tuple]


def match_element(call, inputs, attrs, taping):
    """The result of ``get_item`` as an event that takes ints as operands, pending; None if there is none that fits."""
    index = attrs["index"]
    for event in call.cursor.children if _takes_element(inputs[0], index) else ():
        if event.taping is taping and _fits(event, index):
            result = event.match(call, event, (*inputs, *[index[k] for k in _axes(event)]))
            if result is not None:
                return result
    return None


def as_operands(call, inputs, attrs):
    """How ``get_item`` is to be recorded: operation, operands and attributes."""
    index, line = attrs["index"], user_line()
    if _takes_element(inputs[0], index):
        axes = call.owner.choosing.get(line, frozenset()).union(*[_differing(event, index) for event in call.cursor.children if event.kind == "op"])
        if axes:
            call.owner.choosing[line] = axes
        axes = sorted(k for k in axes if k < len(index))
        if axes:
            return take, (*inputs, *[index[k] for k in axes]), {"pattern": opened(index, axes)}
    return get_item, inputs, attrs


def _differing(event, index):
    """The axes along which a known event takes another int."""
    known = _entries(event.op, event.attrs)
    if known is None or len(known) != len(index):
        return ()
    return [k for k, (i, j) in enumerate(zip(known, index, strict=True)) if type(i) is int and i != j]
