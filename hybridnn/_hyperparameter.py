"""Hyperparameters, of optimizers and of each of their rules."""
import numpy as np

__all__ = ["Hyperparameter", "HyperparameterProxy", "PlainFloats"]


class PlainFloats:
    """Keeps attributes that are floats of NumPy's, as schedules compute them, as Python's: these leave the precision of an update to its arrays."""

    def __setattr__(self, name, value):
        self.__dict__[name] = float(value) if isinstance(value, np.floating) else value


class Hyperparameter(PlainFloats):
    """Attributes with a parent to ask for those that are not set here: an optimizer's values are the defaults of its rules'."""

    def __init__(self, parent=None):
        self._parent = parent

    def __getattr__(self, name):
        parent = self.__dict__.get("_parent")
        if parent is None:
            known = ", ".join(sorted(k for k in self.__dict__ if k != "_parent"))
            raise AttributeError(f"no hyperparameter {name!r} here or in a parent (here: {known or 'none'})")
        return getattr(parent, name)

    def __repr__(self):
        return "Hyperparameter(" + ", ".join(f"{k}={v}" for k, v in sorted(self.get_dict().items())) + ")"

    @property
    def parent(self):
        """The Hyperparameter that provides the defaults, or None."""
        return self._parent

    def get_dict(self):
        """All values seen from here, as a new dict."""
        own = self.__dict__
        if own["_parent"] is None:
            values = own.copy()
        else:
            values = own["_parent"].get_dict()
            if len(own) == 1:
                return values
            values.update(own)
        del values["_parent"]
        return values


class HyperparameterProxy:
    """An optimizer's attribute that stands for ``optimizer.hyperparam.<attr_name>``."""

    def __init__(self, attr_name):
        self._attr_name = attr_name
        self.__doc__ = f"Alias of ``self.hyperparam.{attr_name}``."

    def __get__(self, obj, owner=None):
        return self if obj is None else getattr(obj.hyperparam, self._attr_name)

    def __set__(self, obj, value):
        setattr(obj.hyperparam, self._attr_name, value)
