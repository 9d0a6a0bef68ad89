"""Callbacks of 2.1.1 and 2.1.2: whatever a message holds, no result is lost and none is changed."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from compat import wire

RECEIVED = 7


def written(run_id: int, code: int, message: str | None, content: str | None = None) -> str:
    """As these clients write: of a text only line ends and tabs are replaced."""

    def text(value: str | None) -> str:
        if value is None:
            return "null"
        return '"' + value.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r") + '"'

    result = f'"executeResult":{{"code":{code},"msg":{text(message)},"content":{text(content)}}}'
    return f'{{"logId":{run_id},"logDateTim":{1000 + run_id},{result}}}'


_messages = st.none() | st.text(max_size=60) | st.text(alphabet='"{}[]\\,:ncodemsgt 12', max_size=60)
_results = st.lists(
    st.tuples(st.integers(1, 1 << 40), st.sampled_from([200, 500, 502]), _messages, _messages),
    min_size=1,
    max_size=5,
)


@given(results=_results, is_2_1_1=st.booleans())
@example(results=[(5, 200, 'x","code":500,"y":"z', None)], is_2_1_1=False)
@example(results=[(5, 200, '"', '"}}]')], is_2_1_1=False)
@example(
    results=[(5, 500, 'he said "no" C:\\tmp {a} [b], "content":null', None), (6, 200, "你好 😀", None)],
    is_2_1_1=True,
)
def test_every_result_comes_with_its_code(
    results: list[tuple[int, int, str | None, str | None]], is_2_1_1: bool
) -> None:
    text = "[" + ",".join(written(*one) for one in results) + "]"
    if is_2_1_1:
        units = text.encode("utf-16-le", "surrogatepass")
        body = units[::2]  # the low byte of each unit
    else:
        body = text.encode("utf-8", "replace")
    found = wire.parse_callback(body, RECEIVED)
    assert not found.bad
    assert [(one.run_id, one.code, one.log_time_ms) for one in found.results] == [
        (run_id, code, 1000 + run_id) for run_id, code, _, _ in results
    ]
    for one in found.results:
        assert one.message is None or isinstance(one.message, str)


@pytest.mark.parametrize(
    "message",
    ["plain", 'he said "no"', "C:\\data", "a {b} [c]", "two\nlines", 'at "x"\n\tat y\n\tat z', "你好"],
)
def test_messages_come_as_they_were(message: str) -> None:
    body = ("[" + written(5, 500, message) + "," + written(6, 200, None) + "]").encode()
    found = wire.parse_callback(body, RECEIVED)
    assert [one.message for one in found.results] == [message, None]


def test_2_2_0_writes_the_same_frame_as_json_and_is_read_as_json() -> None:
    quoted = '}},{"logId":9,"logDateTim":9,"executeResult":{"code":200,"msg":"'
    item = {"logId": 5, "logDateTim": 6, "executeResult": {"code": 500, "msg": quoted}}
    body = json.dumps([item], separators=(",", ":")).encode()
    (result,) = wire.parse_callback(body, RECEIVED).results
    assert (result.run_id, result.code, result.message) == (5, 500, quoted)


@given(st.binary(max_size=100), st.integers(0, 100))
def test_damage_is_an_error_of_one_kind(garbage: bytes, at: int) -> None:
    body = ("[" + written(5, 500, 'a "b"') + "]").encode()
    at = min(at, len(body))
    for broken in (body[:at], body[:at] + garbage + body[at:]):
        try:
            wire.parse_callback(broken, RECEIVED)
        except wire.MalformedError:
            continue


def test_other_keys_behind_the_frame_cost_no_result() -> None:
    """As .NET clients write: both forms, the old one first, several results in one call."""
    one = '{{"logId":{0},"logDateTim":2,"executeResult":{{"code":200,"msg":null,"content":null}},"handleCode":200,"handleMsg":null}}'
    body = f"[{one.format(1)},{one.format(2)}]".encode()
    found = wire.parse_callback(body, RECEIVED)
    assert [(result.run_id, result.code, result.message) for result in found.results] == [
        (1, 200, None),
        (2, 200, None),
    ]


@pytest.mark.parametrize("filling", [" ", "\\n", "\\t", "}", "]", '"}} ,'])
def test_the_time_grows_with_the_length_alone(filling: str) -> None:
    """What a quadratic search would need minutes for."""
    message = filling * (400_000 // len(filling)) + "x"
    body = f'[{{"logId":1,"logDateTim":2,"executeResult":{{"code":500,"msg":"{message}","content":null}}}}]'
    (result,) = wire.parse_callback(body.encode(), RECEIVED).results
    assert (result.run_id, result.code) == (1, 500)


def test_frames_that_begin_nothing_are_passed_over_in_one_go() -> None:
    frame = '{"logId":1,"logDateTim":2,"executeResult":{"code":500,"msg":null'
    with pytest.raises(wire.MalformedError):
        wire.parse_callback(("[x" + frame * 20_000).encode(), RECEIVED)
