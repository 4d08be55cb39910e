"""Which of many plans may fit a call: those for its signature, and for the objects among its arguments that they guard by identity.

A population of models may be trained by one function, ``step(model, optimizer, x, t)``: each of them has plans of its own.
"""
from hybridnn.trace.signature import signature

__all__ = ["MOST_OBJECTS", "arena_of", "asked_first", "kept", "likely", "new_objects", "objects_of"]

PLANS_PER_PATH = 8      # with the same decisions, for the same objects
MOST_OBJECTS, MOST_BYTES = 256, 1 << 26     # for how many objects there may be plans for one path, and what arenas these may hold, beyond as many as that


def objects_of(facts):
    """The places of arguments which facts of an observer's say to be the very objects that they were, and the ids of these."""
    found = {fact[1]: id(fact[2]) for fact in facts if fact[0] == "root" and fact[1][0] in ("arg", "kwarg")}
    places = tuple(sorted(found, key=repr))
    return places, tuple([found[place] for place in places])


def likely(memory, args, kwargs):
    """The plans that may fit, the one that fitted last first."""
    found = []
    for places, by_objects in _index(memory).get(signature(args, kwargs, memory.grown_ids), {}).items():
        found += by_objects.get(_ids(places, args, kwargs), ())
    return found


def new_objects(memory, root, args, kwargs):
    """The ids of the arguments that plans guard by identity, as they are in a call, if there is no plan for these objects; else None."""
    if not root.places:
        return None
    ids = _ids(root.places, args, kwargs)
    return None if _like(memory, root.signature, root.places, ids) else ids


def _ids(places, args, kwargs):
    return tuple([id(args[k] if kind == "arg" else kwargs[k]) for kind, k in places])


def _index(memory):
    """Signature -> places of objects -> ids of these -> plans."""
    if memory.index is None or memory.index[0] is not memory.plans:
        plans, groups = memory.plans, {}
        for plan in plans:
            places, ids = plan.objects
            groups.setdefault(plan.signature, {}).setdefault(places, {}).setdefault(ids, []).append(plan)
        memory.index = plans, groups
    return memory.index[1]


def _like(memory, key, places, ids):
    return _index(memory).get(key, {}).get(places, {}).get(ids, [])


def asked_first(memory, plan):
    """Put the plan that fitted last before others like it."""
    like = _like(memory, plan.signature, *plan.objects)
    if plan in like and like[0] is not plan:
        like.remove(plan)
        like.insert(0, plan)


def kept(memory, plan):
    """The plans that are kept when there is a new one, which is the first: those that were used last."""
    found, ways, held, counted = [plan], {_way(plan): {plan.objects: 1}}, 0, 1
    for p in sorted([p for p in memory.plans if not p.dead], key=lambda p: -p.used):
        objects = ways.setdefault(_way(p), {})
        another = bool(objects) and p.objects not in objects
        size = arena_of(p) if another else 0
        crowded = len(objects) >= MOST_OBJECTS or len(objects) >= PLANS_PER_PATH and held + size > MOST_BYTES
        if another and crowded or not another and (counted >= memory.max_paths or objects.get(p.objects, 0) >= PLANS_PER_PATH):
            continue
        objects[p.objects] = objects.get(p.objects, 0) + 1
        counted, held = counted + (not another), held + size
        found.append(p)
    return found


def arena_of(plan):
    """The bytes of intermediate values that a plan keeps between calls."""
    return sum(s.executable.arena_bytes for s in plan.segments if s.executable is not None)


def _way(plan):
    return id(plan.end), plan.settled, tuple([(id(event), outcome) for event, outcome in plan.decisions])
