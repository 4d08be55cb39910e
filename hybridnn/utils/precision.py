"""Computing in more precision than the inputs have."""
import functools

import numpy as np

__all__: list[str] = []


def _fp16_mixed_precision_helper(forward):
    """Decorator of ``forward(self, inputs)``: float16 inputs come as float32; if all floats were float16, so are the outputs."""
    @functools.wraps(forward)
    def run(self, inputs):
        outputs = forward(self, tuple([x.astype(np.float32) if x.dtype == np.float16 else x for x in inputs]))
        if any(x.dtype.kind == "f" and x.dtype != np.float16 for x in inputs):
            return outputs
        return tuple([y.astype(np.float16) if y is not None and y.dtype == np.float32 else y for y in outputs])
    return run
