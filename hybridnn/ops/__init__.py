"""One declaration per operation: forward body, gradient rules, samples. Importing this registers them all in ``core.OPS``."""
from hybridnn.ops import (
    activation, array, conv, embedding, evaluation, image, linalg, linear, loss, math, noise, normalization, pooling, reduction, rnn, softmax,
    sparse, special)
