"""What Hessian messages are made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from gateway.core.errors import GatewayError

MAX_INT = (1 << 31) - 1
MAX_LONG = (1 << 63) - 1


class HessianError(GatewayError):
    """The bytes are not what these messages hold, or are more than is read."""


class Long(int):
    """A whole number that is written with 64 bits, however small: Java's methods are found by their types."""

    __slots__ = ()


@dataclass(slots=True, eq=False)
class Struct:
    """An object, or a map whose keys are text: the class is data like the rest."""

    name: str
    fields: dict[str, Value] = field(default_factory=dict)


class TypedList(list["Value"]):
    """A list that says what it is, such as `[object`; an ArrayList does not, and is a plain list."""

    __slots__ = ("type",)

    def __init__(self, type_name: str, items: Iterable[Value] = ()) -> None:
        super().__init__(items)
        self.type = type_name


Value: TypeAlias = "bool | int | float | str | bytes | list[Value] | Struct | None"
Container: TypeAlias = "list[Value] | Struct"
