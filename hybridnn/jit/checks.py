"""Native steps that look for labels out of range, before the steps that use them; the operation itself then raises its error."""
import numpy as np

from hybridnn.jit.native import Step

__all__ = ["WRONG_LABEL", "label_check", "label_check_text"]

WRONG_LABEL = 3      # code that the step leaves in the status

# op -> which operand holds the labels, and how many classes there are, of shapes of operands and attributes
LABELLED = {**dict.fromkeys(("softmax_cross_entropy", "pick_label", "select_item"), (1, lambda shapes, attrs: shapes[0][1])),
            "embed": (0, lambda shapes, attrs: shapes[1][0]), "put_label": (1, lambda shapes, attrs: attrs["classes"])}

_TEXT = '''"""Labels that are neither ignored nor class numbers."""
from numba import int64

from hybridnn.jit.vecmath import ptr_i64, {pointer}


def kernel(bufs, args, lo, hi):
    labels = {pointer}(bufs, args, 0)
    status = ptr_i64(bufs, args, 2)
    classes, ignored, some = args[4], args[5], args[6]
    wrong = 0
    for i in range(lo, hi):
        label = int64(labels[i])
        outside = (label < 0) | (label >= classes)
        wrong += int64(outside & ((some == 0) | (label != ignored)))
    if wrong:
        status[0] = {code}
'''


def label_check_text(dtype):
    """The kernel's text for int32 or int64 labels."""
    text = _TEXT.format(pointer=f"ptr_i{8 * np.dtype(dtype).itemsize}", code=WRONG_LABEL)
    return text.replace("import ptr_i64, ptr_i64", "import ptr_i64")


def label_check(view, classes, ignored, address):
    """The native step over C-contiguous labels."""
    words = [view.buf, view.offset, -1, 0, classes, 0 if ignored is None else ignored, int(ignored is not None)]
    return Step(address, np.array(words, np.int64), 0, view.size, 0, "check labels")
