"""The floors of the package, lowest first: the one list that says who may import whom.

A module belongs to the longest prefix that names it. It may import from its own floor and from the floors below.
"""

FLOORS: tuple[tuple[str, ...], ...] = (
    ("config", "configuration", "debug", "errors", "function_hook", "warnings", "_other_names", "_runtime_info", "_references"),
    ("_backend", "backend", "backends", "cuda", "device_resident", "exact", "memory_layouts", "openblas", "spec", "types"),
    ("core",),
    ("function", "function_node", "variable"),
    ("ops",),
    ("basic_math", "functions", "_backprop_utils"),
    ("utils",),
    ("distribution", "distributions"),
    ("link", "links", "link_hook", "link_hooks", "function_hooks", "sequential", "parameter",
     "initializer", "initializers", "serializer", "serializers", "exporters", "reporter", "summary"),
    ("optimizer", "_hooks", "_hyperparameter", "_update_rule", "optimizers", "optimizer_hooks", "gradient_check"),
    ("graph", "computational_graph"),
    ("jit",),
    ("trace",),
    ("dataset", "datasets", "graph_optimizations", "iterators", "training", "testing"),
    ("profile",),
    ("__init__", "__main__", "cli"),
)

# (who, must not import what, except). The walls that stand inside the floors.
WALLS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("hybridnn.trace", "numba", ()),
    ("hybridnn.trace", "llvmlite", ()),
    ("hybridnn.jit", "hybridnn.core", ("hybridnn.core.op", "hybridnn.core.compose")),
    ("hybridnn.jit", "hybridnn.functions", ()),
    ("hybridnn.jit", "hybridnn.links", ()),
    ("hybridnn.jit", "hybridnn.link", ()),
    ("hybridnn.jit", "hybridnn.optimizers", ()),
)

# Modules of others that only one place may import.
KEEPERS: dict[str, str] = {"cupy": "hybridnn.backend", "cupyx": "hybridnn.backend"}

# Packages inside which modules may import each other in a circle: the one deliberate knot.
KNOTS: tuple[str, ...] = ("hybridnn.core",)
