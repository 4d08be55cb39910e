"""``Classifier``: a predictor with its loss and accuracy."""
from hybridnn import functions as F
from hybridnn.link import Chain
from hybridnn.reporter import report

__all__ = ["Classifier"]


class Classifier(Chain):
    """Calls a predictor, computes loss and accuracy, reports both (as ``loss`` and ``accuracy``) and returns the loss.

    The last call's prediction, loss and accuracy stay in ``y``, ``loss`` and ``accuracy``.

    Args:
        predictor: a link.
        lossfun, accfun: functions of prediction and label.
        label_key: which argument is the label: a position, or the name of a keyword argument.
    """
    compute_accuracy = True

    def __init__(self, predictor, lossfun=F.softmax_cross_entropy, accfun=F.accuracy, label_key=-1):
        if not isinstance(label_key, (int, str)):
            raise TypeError(f"label_key must be int or str: a position or a name; got {type(label_key).__name__}")
        if not callable(lossfun):
            raise TypeError(f"lossfun is a function of prediction and label, such as F.mean_squared_error; got {lossfun!r:.60}")
        super().__init__()
        self.lossfun, self.accfun, self.label_key = lossfun, accfun, label_key
        self.y = self.loss = self.accuracy = None
        with self.init_scope():
            self.predictor = predictor

    def forward(self, *args, **kwargs):
        """The loss of a batch; all arguments but the label go to the predictor."""
        args, t = self._split(args, kwargs)
        self.y = self.loss = self.accuracy = None
        self.y = self.predictor(*args, **kwargs)
        self.loss = self.lossfun(self.y, t)
        report({"loss": self.loss}, self)
        if self.compute_accuracy:
            self.accuracy = self.accfun(self.y, t)
            report({"accuracy": self.accuracy}, self)
        return self.loss

    def _split(self, args, kwargs):
        key = self.label_key
        if isinstance(key, str):
            if key not in kwargs:
                raise ValueError(f"Classifier: Label key {key!r} is not among the keyword arguments {sorted(kwargs)}")
            return args, kwargs.pop(key)
        if not -len(args) <= key < len(args):
            raise ValueError(f"Classifier: Label key {key} is no position among {len(args)} arguments")
        key %= len(args)
        return args[:key] + args[key + 1:], args[key]
