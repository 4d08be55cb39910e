"""Type checks that explain themselves: ``hybridnn.core.type_check``, where Chainer has it."""
from hybridnn.core.type_check import (
    Atom,
    BinaryOperator,
    BoolBinaryOperator,
    Call,
    Constant,
    Expr,
    GetAttr,
    GetItem,
    InvalidType,
    LightMode,
    LightTypeInfoTuple,
    TypeInfo,
    TypeInfoTuple,
    UnaryOperator,
    UnmetExpectation,
    Variable,
    _argname,  # noqa: F401
    _make_variable_from_array,  # noqa: F401
    _repr,  # noqa: F401
    eval,
    expect,
    expect_broadcast_shapes,
    get_function_check_context,
    get_light_types,
    get_types,
    in_light_mode,
    light_mode,
    make_variable,
    prod,
    same_types,
)

__all__ = ["Atom", "BinaryOperator", "BoolBinaryOperator", "Call", "Constant", "Expr", "GetAttr", "GetItem", "InvalidType", "LightMode",
           "LightTypeInfoTuple", "TypeInfo", "TypeInfoTuple", "UnaryOperator", "UnmetExpectation", "Variable", "eval", "expect",
           "expect_broadcast_shapes", "get_function_check_context", "get_light_types", "get_types", "in_light_mode", "light_mode",
           "make_variable", "prod", "same_types"]
