"""Gradients of several small batches for one update."""
from hybridnn.core import OPS, apply_inplace

__all__ = ["GradientAccumulation"]


class GradientAccumulation:
    """Calls the optimizer once for every ``steps`` batches, with the mean of their gradients.

    ``accumulation.update(lossfun, *args)`` computes a loss and its gradients; or call ``loss.backward()`` yourself,
    without clearing gradients, and then ``accumulation.update()``. Both return True when the optimizer was called.

    Args:
        optimizer: an optimizer that is set up.
        steps: batches per update.
    """

    def __init__(self, optimizer, steps):
        if steps < 1:
            raise ValueError(f"steps is at least 1, not {steps}")
        self.optimizer, self.steps = optimizer, steps
        self.pending = 0

    def update(self, lossfun=None, *args, **kwds):
        """Count a batch; at the last of ``steps``, scale the gradients, update and clear."""
        target = self.optimizer.target
        if lossfun is not None:
            loss = lossfun(*args, **kwds)
            if self.pending == 0:
                target.cleargrads()
            loss.backward(loss_scale=self.optimizer._loss_scale)
        self.pending += 1
        if self.pending < self.steps:
            return False
        self._finish(target)
        return True

    def _finish(self, target):
        for param in target.params(False):
            if self.steps > 1 and param.grad_var is not None:
                apply_inplace(OPS["mul"], (param.grad_var, 1.0 / self.steps), (0,))
        self.optimizer.update()
        target.cleargrads()
        self.pending = 0
