"""What strangers put into calls in Hessian: read, or refused with one kind of error."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compat import old_inbound, rpc
from compat.hessian import Long, Struct, TypedList, Value, hessian1, hessian2
from compat.wire import MalformedError
from gateway.core.errors import GatewayError

RECEIVED = 7
_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 31), (1 << 31) - 1)
    | st.integers(-(1 << 63), (1 << 63) - 1).map(Long)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["EXECUTOR", "lab", "10.0.0.7:9999", "101", " ", "\ud800"])
)
_names = st.sampled_from(
    ["logId", "logDateTim", "executeResult", "code", "msg", "content", "registGroup", "registryGroup", "registryKey",
     "registryValue", "x"]
)  # fmt: skip
_classes = st.sampled_from(["java.util.HashMap", f"{rpc.MODEL}ReturnT"])
_arguments: st.SearchStrategy[Value] = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.builds(Struct, _classes, st.dictionaries(_names, inner)),
    max_leaves=12,
)
_frames = st.sampled_from([rpc.NETCOM_1, rpc.NETCOM_2, rpc.XXL_RPC])


def call_with(frame: rpc.Frame, parameters: Value) -> bytes:
    fields: dict[str, Value] = {
        "methodName": "callback",
        "createMillisTime": Long(5),
        "parameters": parameters,
    }
    return frame.encode(Struct(frame.request, fields))


@settings(max_examples=200)
@given(frame=_frames, argument=_arguments)
def test_any_argument_is_read_or_refused(frame: rpc.Frame, argument: Value) -> None:
    call = old_inbound.read_call(call_with(frame, TypedList("[object", [argument])))
    found = old_inbound.results(call, RECEIVED)
    items = argument if isinstance(argument, list) else [argument]
    assert len(found.results) + len(found.bad) == len(items)
    for result in found.results:
        assert type(result.run_id) is type(result.code) is int
        assert result.message is None or isinstance(result.message.encode(), bytes)
    try:
        registration = old_inbound.registration(call)
    except GatewayError:
        return
    assert registration.appname.strip()


@settings(max_examples=100)
@given(
    frame=_frames,
    fields=st.dictionaries(
        st.sampled_from(
            ["parameters", "methodName", "accessToken", "requestId", "createMillisTime", "className"]
        ),
        _arguments,
    ),
)
def test_any_field_of_a_call_is_read(frame: rpc.Frame, fields: dict[str, Value]) -> None:
    call = old_inbound.read_call(frame.encode(Struct(frame.request, fields)))
    assert isinstance(call.method, str)
    assert isinstance(call.token.encode(), bytes)
    for answer in (
        old_inbound.answer(call.frame, call.request_id, None),
        old_inbound.refusal(call.frame, call.request_id, "no"),
        old_inbound.error(call.frame, call.request_id, "no"),
    ):
        assert isinstance(call.frame.decode(answer), Struct)


@pytest.mark.parametrize(
    "value",
    [None, 5, "text", [], [1], Struct("other"), Struct(rpc.NETCOM_1.response), TypedList("[object", [1])],
)
def test_what_is_no_call_is_malformed(value: Value) -> None:
    for codec in (hessian1, hessian2):
        with pytest.raises(MalformedError):
            old_inbound.read_call(codec.encode(value))


def test_values_that_double_in_each_level_are_named_and_not_followed() -> None:
    inner: list[Value] = ["x"]
    for _ in range(20):
        inner = [inner, inner]
    result_of = Struct("ReturnT", {"code": 200, "msg": inner})
    argument = Struct(f"{rpc.MODEL}HandleCallbackParam", {"logId": 5, "executeResult": result_of})
    call = old_inbound.read_call(call_with(rpc.XXL_RPC, [[argument]]))
    (result,) = old_inbound.results(call, RECEIVED).results
    assert (result.run_id, result.code, result.message) == (5, 200, "(list)")


def test_releases_1_6_0_and_1_6_1_say_how_it_ended_beside_the_run() -> None:
    fields: dict[str, Value] = {"logId": 5, "logAddress": ["h:1"], "code": 500, "msg": "no"}
    argument = Struct(f"{rpc.MODEL}HandleCallbackParam", fields)
    call = old_inbound.read_call(call_with(rpc.NETCOM_1, [argument]))
    (result,) = old_inbound.results(call, RECEIVED).results
    assert (result.run_id, result.code, result.message) == (5, 500, "no")


def test_one_struct_in_many_places_is_read_once_and_for_its_known_fields() -> None:
    """References cost four bytes; what they name is not to be made anew for each."""
    result = Struct("java.util.HashMap", {"logId": 5, **{f"field {n}": n for n in range(2000)}})
    call = old_inbound.OldCall(rpc.NETCOM_1, "netcom-1.8", "callback", None, "", 0, [result] * 2000)
    found = old_inbound.results(call, RECEIVED)
    assert [one.run_id for one in found.results] == [5]
    assert rpc.plain(result) == {"logId": 5}


def test_what_is_no_call_is_shown_short() -> None:
    with pytest.raises(MalformedError) as caught:
        old_inbound.read_call(b"C" + hessian2.encode("A" * 1_000_000))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("frame", [rpc.NETCOM_1, rpc.NETCOM_2, rpc.XXL_RPC])
@pytest.mark.parametrize("is_shared", [True, False])
def test_many_results_without_messages_are_read(frame: rpc.Frame, is_shared: bool) -> None:
    """The fewest bytes for each value that an honest call has."""
    success = Struct(f"{rpc.MODEL}ReturnT", {"code": 200, "msg": None, "content": None})
    results: list[Value] = [
        Struct(
            f"{rpc.MODEL}HandleCallbackParam",
            {
                "logId": (1 << 29) + n,
                "logDateTim": Long(1_795_000_000_000 + n),
                "executeResult": success if is_shared else Struct(success.name, dict(success.fields)),
            },
        )
        for n in range(1, 1001)
    ]
    call = old_inbound.read_call(call_with(frame, [results]))
    assert [one.run_id - (1 << 29) for one in old_inbound.results(call, RECEIVED).results] == [
        *range(1, 1001)
    ]
