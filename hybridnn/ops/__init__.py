"""One declaration per operation: forward body, gradient rules, samples. Importing this registers them all in ``core.OPS``."""
from hybridnn.ops import activation, array, image, linalg, math, noise, reduction, softmax, sparse, special
