"""Both Hessian codecs: recorded bytes come back the same, and whatever a stranger sends is read within bounds."""

from __future__ import annotations

import struct
import tracemalloc
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compat.hessian import HessianError, Long, Struct, TypedList, Value, hessian1, hessian2
from compat.hessian.reader import MAX_DEPTH, MAX_VALUES, WINDOW, text_of
from tests.kit.captures import Capture, captures_of

HESSIAN_1 = ["1.6.2", "1.7.0", "1.7.2", "1.8.0", "1.8.1", "1.8.2", "1.9.0", "1.9.1"]
HESSIAN_2 = ["1.9.2", "2.0.0", "2.0.1", "2.0.2", "2.1.0", "2.1.1", "2.1.2"]
BOTH = pytest.mark.parametrize("codec", [hessian1, hessian2], ids=["1", "2"])


def _bodies(version: str, first: bytes) -> list[tuple[Capture, bytes]]:
    found = [(one, body) for one in captures_of(version) for body in (one.request_body, one.answer_body)]
    return [(one, body) for one, body in found if body.startswith(first)]


@pytest.mark.parametrize("version", HESSIAN_1)
def test_every_recorded_body_of_hessian_1_comes_back_byte_for_byte(version: str) -> None:
    bodies = _bodies(version, b"Mt")
    assert len(bodies) > 40
    for capture, body in bodies:
        assert hessian1.encode(hessian1.decode(body)) == body, capture.path


@pytest.mark.parametrize("version", HESSIAN_2)
def test_every_recorded_body_of_hessian_2_comes_back_byte_for_byte(version: str) -> None:
    bodies = _bodies(version, b"C")
    assert len(bodies) > 40
    for capture, body in bodies:
        assert hessian2.encode(hessian2.decode(body)) == body, capture.path


def test_a_recorded_registration_is_a_tree_of_names() -> None:
    (capture,) = [one for one in captures_of("2.0.2") if one.name == "registry"]
    call = hessian2.decode(capture.request_body)
    assert isinstance(call, Struct)
    assert call.name == "com.xxl.rpc.remoting.net.params.XxlRpcRequest"
    assert call.fields["accessToken"] == "default_token"
    assert call.fields["createMillisTime"] == 1795248490046
    assert isinstance(call.fields["createMillisTime"], Long)
    parameters = call.fields["parameters"]
    assert isinstance(parameters, TypedList)
    assert parameters.type == "[object"
    (registration,) = parameters
    assert isinstance(registration, Struct)
    assert registration.fields["registryValue"] == "127.0.0.1:19999"


# ---------------------------------------------------------------- there and back

_names = st.text(st.characters(codec="ascii", min_codepoint=33), min_size=1, max_size=20)
_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 31), (1 << 31) - 1)
    | st.integers(-(1 << 63), (1 << 63) - 1).map(Long)
    | st.floats(allow_nan=False)
    | st.text(max_size=50)
)
_values: st.SearchStrategy[Value] = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=12)
        | st.builds(TypedList, _names, st.lists(inner, max_size=12))
        | st.builds(Struct, _names, st.dictionaries(_names, inner, max_size=6))
    ),
    max_leaves=25,
)


def _shape(value: Value) -> object:
    """As plain tuples, in which a number knows its width and a list its type."""
    if isinstance(value, Struct):
        return value.name, [(name, _shape(item)) for name, item in value.fields.items()]
    if isinstance(value, list):
        return getattr(value, "type", None), [_shape(item) for item in value]
    return type(value).__name__, value


@BOTH
@settings(max_examples=60)
@given(value=_values)
def test_what_is_written_is_read(codec: ModuleType, value: Value) -> None:
    assert _shape(codec.decode(codec.encode(value))) == _shape(value)


@BOTH
@pytest.mark.parametrize("text", ["", "a" * 31, "a" * 32, "é" * 1023, "你" * 1024, "x" * 32_768, "x" * 32_769,
                                  "ab😀" * 30_000, "x" * 32_767 + "😀" + "y" * 40_000, "\x00\x7f\x80"])  # fmt: skip
def test_text_of_any_length_and_script(codec: ModuleType, text: str) -> None:
    assert codec.decode(codec.encode(text)) == text


def test_java_writes_an_emoji_as_two_surrogates_and_counts_two() -> None:
    assert hessian1.encode("😀") == bytes.fromhex("530002eda0bdedb880")
    assert hessian2.encode("😀") == bytes.fromhex("02eda0bdedb880")


def test_no_pair_is_cut_apart_between_pieces() -> None:
    raw = hessian2.encode("x" * 32_767 + "😀")
    assert raw[:3] == b"R\x7f\xff"


@BOTH
def test_what_is_said_twice_is_referred_to_as_java_does(codec: ModuleType) -> None:
    shared = Struct("ReturnT", {"code": 200})
    back = codec.decode(codec.encode([shared, shared]))
    assert back[0] is back[1]
    assert back[0].fields == {"code": 200}


def test_numbers_of_hessian_2_take_the_shortest_form() -> None:
    for value, raw in [
        (-16, "80"), (47, "bf"), (-17, "c7ef"), (2047, "cfff"), (-2048, "c000"), (262_143, "d7ffff"),
        (262_144, "4900040000"), (Long(-8), "d8"), (Long(15), "ef"), (Long(2047), "ffff"), (Long(-262_144), "380000"),
        (Long(1 << 20), "5900100000"), (Long(1 << 40), "4c0000010000000000"), (1 << 40, "4c0000010000000000"),
    ]:  # fmt: skip
        assert hessian2.encode(value).hex() == raw
        assert hessian2.decode(bytes.fromhex(raw)) == value


def test_what_only_a_users_handler_may_have_returned_is_read_all_the_same() -> None:
    assert hessian2.decode(b"H\x01a\x91\x01b\x92Z").fields == {"a": 1, "b": 2}  # type: ignore[union-attr]
    assert hessian2.decode(b"\x5c") == 1.0
    assert hessian2.decode(b"\x5f" + (2500).to_bytes(4)) == 2.5
    assert hessian2.decode(b"\x4b" + (2).to_bytes(4)) == 120_000
    assert hessian2.decode(b"\x23abc") == b"abc"
    assert hessian1.decode(b"d" + (5).to_bytes(8)) == 5
    assert hessian1.decode(b"MI\x00\x00\x00\x07Tz").fields == {"7": True}  # type: ignore[union-attr]
    assert hessian2.decode(b"\x57\x91\x92Z") == [1, 2]


# ---------------------------------------------------------------- bad input

_H1_LIST = b"V"
_CLASS_OF_NONE = b"C\x01a\x90"
HOSTILE_1 = {
    "nothing": b"",
    "no such tag": b"Q",
    "a text that is not there": b"S\xff\xffabc",
    "a huge list": b"Vl\x7f\xff\xff\xffNz",
    "a negative list": b"Vl\xff\xff\xff\xffz",
    "a list with fewer than announced": b"Vl\x00\x00\x00\x02NNNz",
    "a list without an end": b"V" * 20,
    "nested lists": b"V" * 100_000,
    "nested maps": b"MN" * 50_000,
    "nested maps with keys": b"MS\x00\x01a" * 50_000,
    "a reference to nothing": b"R\x00\x00\x00\x05",
    "a negative reference": b"R\xff\xff\xff\xff",
    "a list in itself": b"VR\x00\x00\x00\x00z",
    "a loop through a map": b"MS\x00\x01aVR\x00\x00\x00\x00zz",
    "a list as a key": b"MVzNz",
    "more after the end": b"NN",
    "text in pieces without a last": b"s\x00\x01aN",
    "bytes that are no UTF-8": b"S\x00\x02\xff\xfe",
    "continuations only": b"S\x00\x02" + b"\x80" * 1000,
    "a slow crawl": b"S\xff\xff" + b"a" * 65_534 + b"\x80" * 100_000,
    "a long name": b"Mt\x04\x00" + b"a" * 1024 + b"z",
    "too many values": b"V" + b"N" * 210_000 + b"z",
    "too many pieces": b"s\x00\x00" * 210_000 + b"S\x00\x00",
}
HOSTILE_2 = {
    "nothing": b"",
    "no such tag": b"\x40",
    "a text that is not there": b"S\xff\xffabc",
    "a huge list": b"XI\x7f\xff\xff\xff",
    "a huge typed list": b"V\x01aI\x7f\xff\xff\xff",
    "a negative list": b"X\x8f",
    "a list with a text as its length": b"X\x01a",
    "nested lists": b"\x79" * 100_000,
    "nested lists without length": b"W" * 100_000,
    "nested maps": b"H\x01a" * 50_000,
    "nested objects": b"C\x01a\x91\x01b" + b"\x60" * 100_000,
    "a reference to nothing": b"Q\x95",
    "a list in itself": b"\x79Q\x90",
    "an object in itself": b"C\x01a\x91\x01b\x60Q\x90",
    "a loop through a map": b"H\x01a\x79Q\x90Z",
    "an object of no class": b"\x60",
    "an object of class 1000": b"O\xcb\xe8",
    "a class with a negative number of fields": b"C\x01a\x8f\x60",
    "a class with a billion fields": b"C\x01aI\x7f\xff\xff\xff\x60",
    "a class with a number as its name": b"C\x91\x91\x01b\x60\x90",
    "ten thousand classes": _CLASS_OF_NONE * 10_000 + b"\x60",
    "a type that is not there": b"\x71\x95N",
    "more after the end": b"NN",
    "bytes that are no UTF-8": b"\x02\xff\xfe",
    "too many values": b"W" + b"N" * 210_000 + b"Z",
    "too many objects": _CLASS_OF_NONE + b"W" + b"\x60" * 210_000 + b"Z",
    "too many pieces": b"R\x00\x00" * 210_000 + b"\x00",
}


@pytest.mark.parametrize(
    ("codec", "body"),
    [pytest.param(hessian1, body, id=f"1: {name}") for name, body in HOSTILE_1.items()]
    + [pytest.param(hessian2, body, id=f"2: {name}") for name, body in HOSTILE_2.items()],
)
def test_hostile_bytes_end_in_the_one_error(codec: ModuleType, body: bytes) -> None:
    with pytest.raises(HessianError):
        codec.decode(body)


@BOTH
@pytest.mark.parametrize("name", ["a huge list", "nested lists", "too many values"])
def test_hostile_bytes_take_little_memory(codec: ModuleType, name: str) -> None:
    body = (HOSTILE_1 if codec is hessian1 else HOSTILE_2)[name]
    tracemalloc.start()
    try:
        with pytest.raises(HessianError):
            codec.decode(body)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 64 * 1024 * 1024


@BOTH
def test_references_that_double_each_time_are_not_followed(codec: ModuleType) -> None:
    """Each list holds the one before twice: 2**30 values for whoever goes through them all."""
    lists: list[Value] = ["x"]
    for _ in range(MAX_DEPTH - 2):
        lists = [lists, lists]
    back = codec.decode(codec.encode(lists))
    assert back[0] is back[1]


@BOTH
def test_what_cannot_be_written_is_the_same_error(codec: ModuleType) -> None:
    deep: list[Value] = []
    for _ in range(MAX_DEPTH + 1):
        deep = [deep]
    for value in (deep, b"bytes", 1 << 64, Long(1 << 64), object()):
        with pytest.raises(HessianError):
            codec.encode(value)


_CALLS = [
    (hessian1, next(one.request_body for one in captures_of("1.8.2") if one.name == "callback")),
    (hessian2, next(one.request_body for one in captures_of("2.0.2") if one.name == "callback")),
]


@pytest.mark.parametrize(("codec", "body"), _CALLS, ids=["1", "2"])
def test_a_truncated_call_is_refused_at_every_length(codec: ModuleType, body: bytes) -> None:
    for length in range(len(body)):
        with pytest.raises(HessianError):
            codec.decode(body[:length])


@pytest.mark.parametrize(("codec", "body"), _CALLS, ids=["1", "2"])
@settings(max_examples=150)
@given(data=st.data())
def test_a_damaged_call_is_read_or_refused(codec: ModuleType, body: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(body) - 1))
    patch = data.draw(st.binary(max_size=8))
    cut = data.draw(st.integers(0, 8))
    _reads_or_refuses(codec, body[:at] + patch + body[at + cut :])


@BOTH
@settings(max_examples=150)
@given(body=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(codec: ModuleType, body: bytes) -> None:
    _reads_or_refuses(codec, body)


@BOTH
@settings(max_examples=150)
@given(
    tags=st.lists(
        st.sampled_from(list(b"NTFILSVMRHCOQRXWUz\x5a\x60\x70\x79\x90\x91\x00\x01\x02tl")), max_size=60
    )
)
def test_any_order_of_tags_is_read_or_refused(codec: ModuleType, tags: list[int]) -> None:
    _reads_or_refuses(codec, bytes(tags))


def _reads_or_refuses(codec: ModuleType, body: bytes) -> None:
    try:
        value = codec.decode(body)
    except HessianError:
        return
    assert _count(value) <= MAX_VALUES


def _count(value: Value, most: int = 10_000) -> int:
    """How many values there are to go through, up to some."""
    waiting, count = [value], 0
    while waiting and count < most:
        one = waiting.pop()
        count += 1
        if isinstance(one, Struct):
            waiting.extend(one.fields.values())
        elif isinstance(one, list):
            waiting.extend(one)
    return count


def test_a_double_is_written_as_java_reads_it() -> None:
    assert hessian2.encode(1.5) == b"D" + struct.pack(">d", 1.5)


@given(st.lists(st.sampled_from(["a", "é", "你", "😀", "\ud83d", "\ude00"]), min_size=1, max_size=30))
def test_text_is_the_same_wherever_its_windows_end(parts: list[str]) -> None:
    text = "".join(part * (1 + WINDOW // 20) for part in parts)
    raw = text.encode("utf-16-le", "surrogatepass")
    units = [raw[n : n + 2].decode("utf-16-le", "surrogatepass") for n in range(0, len(raw), 2)]
    halves = "".join(units).encode("utf-8", "surrogatepass")
    expected = raw.decode("utf-16-le", "surrogatepass")
    assert text_of(halves) == expected


@pytest.mark.parametrize("text", ["\x80", "é", "你", "퀀", "😀", "a你", "x" * 40_000 + "你"])
@pytest.mark.parametrize("number", [-16, 0, 47])
def test_a_small_number_behind_a_text_is_no_part_of_it(text: str, number: int) -> None:
    for codec in (hessian1, hessian2):
        assert codec.decode(codec.encode([text, number, text, number])) == [text, number, text, number]
