"""Hessian 1 and 2, as far as the messages of XXL-JOB up to 2.1.2 go: bytes to plain values and back.

A class is a name with fields, never an object; what a stranger sends is bounded in depth, number and size,
and whatever is wrong with it ends in `HessianError`.
"""

from compat.hessian.values import HessianError, Long, Struct, TypedList, Value

__all__ = ["HessianError", "Long", "Struct", "TypedList", "Value"]
