"""``Known``: what was found for one graph and serves others of the same structure, such as that of another batch size."""
__all__ = ["Known"]


class Known(dict):
    """A dict of at most ``most`` entries; it forgets all when it is full. Where a key is made of ids, the value must hold what they are of."""

    def __init__(self, most):
        super().__init__()
        self.most = most

    def __setitem__(self, key, value):
        if len(self) >= self.most:
            self.clear()
        super().__setitem__(key, value)
