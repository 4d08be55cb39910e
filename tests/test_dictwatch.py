"""Changes of dicts, attributes and classes that a plan must notice, and what it need not."""
import gc
import types
import warnings
import weakref

import numpy as np
import pytest

from hybridnn.jit import dictwatch
from hybridnn.jit.dictwatch import VERSIONS, Watch, _how, version, watch, watchable
from hybridnn.trace import namespaces


class Base:
    pass


class Thing(Base):
    def __init__(self, **values):
        self.__dict__.update(values)


def made(**values):
    """A thing with attributes set one by one, so that they stand in the instance where CPython keeps them there."""
    thing = Thing()
    for name, value in values.items():
        setattr(thing, name, value)
    return thing


def confirmed(*args):
    seen = watch(*args)
    assert seen is not None and not seen.unchanged()        # nothing is taken for granted before somebody has looked
    seen.confirm(seen.renew())
    assert seen.unchanged()
    return seen


def test_this_interpreter_is_understood():
    import sys
    assert (_how() is not None) is (sys.version_info[:2] in VERSIONS)


CHANGES = {
    "set": lambda t: setattr(t, "a", 5), "new": lambda t: setattr(t, "c", 5), "delete": lambda t: delattr(t, "a"),
    "object": lambda t: object.__setattr__(t, "a", 5), "dict": lambda t: t.__dict__.update(a=5), "item": lambda t: t.__dict__.__setitem__("b", 5),
    "pop": lambda t: t.__dict__.pop("b"), "clear": lambda t: t.__dict__.clear(), "many": lambda t: [setattr(t, f"x{k}", k) for k in range(100)],
    "odd key": lambda t: t.__dict__.update({3: 4}), "none": lambda t: setattr(t, "a", None), "setdefault": lambda t: t.__dict__.setdefault("c", 1),
    "ior": lambda t: t.__dict__.__ior__({"a": 2}), "popitem": lambda t: t.__dict__.popitem()}


@pytest.mark.parametrize("first", [None, *CHANGES])
@pytest.mark.parametrize("second", CHANGES)
def test_attributes_change(first, second):
    """Each way, also after another one has moved the attributes."""
    thing = made(a=1, b=2)
    seen = confirmed([thing.__dict__], [thing])
    if first is not None:
        CHANGES[first](thing)
        assert not seen.unchanged()
        seen.confirm(seen.renew())
    for name in [*vars(thing)]:
        del vars(thing)[name]
    vars(thing).update(a=object(), b=object())
    seen.confirm(seen.renew())
    assert seen.unchanged()
    CHANGES[second](thing)
    assert not seen.unchanged()


def test_an_attribute_changes_in_a_loop():
    """Specialised bytecode sets attributes in ways of its own."""
    thing = made(a=1, b=2)
    seen = confirmed([thing.__dict__], [thing])
    for k in range(300):
        thing.a = (k,)
        assert not seen.unchanged()
        seen.confirm(seen.renew())


def test_a_value_that_takes_the_place_of_another():
    """What was freed meanwhile is not taken for what lies at its address now."""
    thing = made(a=float("1.5"), b=2)
    seen = confirmed([thing.__dict__], [thing])
    for k in range(200):
        thing.a = None
        thing.a = k + 0.25
        assert not seen.unchanged()


def test_another_dict_or_class():
    thing, other = made(a=1), type("Other", (), {})
    seen = confirmed([thing.__dict__], [thing])
    thing.__dict__ = {"a": 1}
    assert not seen.unchanged()
    thing = made(a=1)
    seen = confirmed([thing.__dict__], [thing])
    assert watchable(thing)
    thing.__class__ = type("Third", (Base,), {"f": other})
    assert not seen.unchanged()


def test_a_dict_outlives_its_instance():
    thing = made(a=1, b=object())
    space, gone = thing.__dict__, weakref.ref(thing)
    seen = confirmed([space])
    del thing
    assert gone() is None
    junk = [made(a=k, b=k) for k in range(50)]
    seen.confirm(seen.renew())
    assert seen.unchanged() and set(space) == {"a", "b"} and junk
    space["a"] = 2
    assert not seen.unchanged()


def test_what_else_changes_is_not_noticed():
    thing, other, plain = made(a=1), made(a=1), {"k": 1}
    seen = confirmed([thing.__dict__, plain], [thing], [Thing])
    other.a = 2
    assert thing.a == 1 and plain["k"] == 1 and "z" not in plain and [*vars(thing)] == ["a"]
    gc.collect()
    assert seen.unchanged()


def test_a_change_while_somebody_looks():
    """Only what was looked at after the last renewal counts."""
    thing = made(a=1)
    seen = watch([thing.__dict__], [thing])
    token = seen.renew()
    thing.a = 2
    seen.confirm(token)
    assert not seen.unchanged()
    older, newer = seen.renew(), seen.renew()
    seen.confirm(older)
    assert not seen.unchanged()
    seen.confirm(newer)
    assert seen.unchanged()


@pytest.mark.parametrize("attempt", [dictwatch._class_tags_work, dictwatch._values_hold, lambda: dictwatch._tags_work(False)])
def test_two_threads_try_at_once(attempt, monkeypatch):
    """What one of them changes to see whether that is noticed, another one does not meet."""
    look, inside = dictwatch._is_seen, []

    def interrupted(seen, change):
        if not inside:
            inside.append(True)
            inside.append(attempt())
        return look(seen, change)
    expected = attempt()
    monkeypatch.setattr(dictwatch, "_is_seen", interrupted)
    assert [attempt(), *inside[1:]] in ([expected], [expected, expected])


def test_nothing_to_watch():
    assert Watch([]).unchanged()


def function(a, b=1, *, c=2):
    return a + b + c


@pytest.mark.parametrize("name, value", [("__code__", (lambda a, b=1, *, c=2: a).__code__), ("__defaults__", (3,)), ("__kwdefaults__", {"c": 4})])
def test_functions_change(name, value):
    seen, old = confirmed([], [function]), getattr(function, name)
    assert watchable(function)
    setattr(function, name, value)
    assert not seen.unchanged()
    setattr(function, name, old)
    assert seen.unchanged()


def test_arrays_change_in_place():
    a = np.zeros((2, 3), np.float32)
    seen = confirmed([], [a])
    assert watchable(a)
    a[...] = 1
    assert seen.unchanged()
    a.flags.writeable = False
    assert not seen.unchanged()
    a.flags.writeable = True
    assert seen.unchanged()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, value in (("dtype", np.int32), ("shape", (3, 2)), ("strides", (4, 4)), ("shape", (3, 2, 1))):
            seen = confirmed([], [a])
            setattr(a, name, value)
            assert not seen.unchanged()
    seen.confirm(seen.renew())
    assert not seen.unchanged()        # its dimensions have moved


def test_versions_of_a_namespace():
    """A version is new after each change, and only then; where one is to be had, nothing looks at what stands in the namespace."""
    space = vars(types.ModuleType("m"))
    seen = [version(space)]
    for change in (lambda: space.update(a=1), lambda: space.update(a=2), lambda: space.pop("a"), space.clear):
        assert version(space) == seen[-1]
        change()
        seen.append(version(space))
    assert len({*seen}) == len(seen)


@pytest.mark.parametrize("versions", [True, False])
def test_names_of_a_module_change_and_come_back(versions, monkeypatch):
    if not versions:
        monkeypatch.setattr(namespaces, "version", lambda space: None)
    space = vars(types.ModuleType("m"))
    space.update(a=1, b=2)
    known = namespaces.members_of(space)
    assert known == space and namespaces.members_of(space) is known and namespaces.has_members(space, known)
    space["a"] = 3
    assert not namespaces.has_members(space, known)
    other = namespaces.members_of(space)
    assert other["a"] == 3 and namespaces.has_members(space, other) and not namespaces.has_members(space, known)
    space["a"] = 1
    assert namespaces.has_members(space, known) and not namespaces.has_members(space, other)
    space["c"] = 1
    assert not namespaces.has_members(space, known)
    del space["c"], space["b"]
    assert not namespaces.has_members(space, known)
