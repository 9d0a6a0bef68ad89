"""The REST JSON: what is read leniently, what is refused, and that nothing else ever escapes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from compat import wire
from gateway.core.errors import InvalidValue
from gateway.core.model import BlockStrategy, ExecutorResult, Job, LogPage, Task
from tests.kit.captures import captures_of

NOW = 1_795_247_421_259
PLAIN = {"logId": 101, "logDateTim": NOW, "handleCode": 200, "handleMsg": "fine"}


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def one(**fields: object) -> ExecutorResult:
    (result,) = wire.parse_callback(encoded([fields]), NOW, strict_time=True).results
    return result


class TestCallback:
    @pytest.mark.parametrize("body", [[PLAIN], PLAIN, {"callbackList": [PLAIN]}])
    def test_array_object_and_list_in_an_object(self, body: object) -> None:
        results, bad = wire.parse_callback(encoded(body), NOW + 5, strict_time=True)
        assert results == [ExecutorResult(101, 200, "fine", NOW, NOW + 5, strict_time=True)]
        assert not bad

    def test_handle_code_goes_before_execute_result(self) -> None:
        both = one(**PLAIN, executeResult={"code": 500, "msg": "old"})
        assert (both.code, both.message) == (200, "fine")
        old = one(logId=1, logDateTim=NOW, executeResult={"code": 502, "msg": "old"})
        assert (old.code, old.message) == (502, "old")

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"logId": "116"}, 116),
            ({"logId": 116.0}, 116),
            ({"logId": 1 << 62}, 1 << 62),
            ({"handleCode": "500"}, 500),
            ({"handleCode": 200.0}, 200),
            ({"handleCode": 0}, 0),
            ({"handleCode": -1}, -1),
            ({"handleCode": None}, 0),
            ({"handleCode": "ok"}, 0),
            ({"handleCode": True}, 0),
            ({"handleCode": 1 << 40}, 0),
            ({"handleMsg": None}, None),
            ({"handleMsg": ""}, ""),
            ({"handleMsg": '"json"'}, '"json"'),
            ({"handleMsg": {"a": [1, "你"]}}, '{"a": [1, "你"]}'),
            ({"handleMsg": 12}, "12"),
            ({"handleMsg": "你好 😀"}, "你好 😀"),
            ({"handleMsg": "x\ud800y"}, "x\ufffdy"),
        ],
    )
    def test_lenient_values(self, fields: dict[str, Any], expected: object) -> None:
        result = one(**{**PLAIN, **fields})
        (name,) = fields
        assert {"logId": result.run_id, "handleCode": result.code, "handleMsg": result.message}[
            name
        ] == expected

    def test_time_in_either_spelling_or_not_at_all(self) -> None:
        assert one(logId=1, handleCode=200, logDateTime=NOW).log_time_ms == NOW
        assert one(logId=1, handleCode=200, logDateTime=str(NOW)).strict_time
        without = one(logId=1, handleCode=200, logDateTim=0)
        assert (without.log_time_ms, without.strict_time, without.message) == (None, False, None)

    def test_bad_elements_do_not_block_the_good_ones(self) -> None:
        body = encoded(
            [None, 7, {}, {"logId": "x"}, {"logId": -1}, {"logId": [[]]}, {**PLAIN, "logId": 5}, "z"]
        )
        results, bad = wire.parse_callback(body, NOW)
        assert [result.run_id for result in results] == [5]
        assert len(bad) == 7
        assert bad[0] == "null instead of an object"
        assert bad[3] == "logId: x instead of a positive whole number"

    def test_raw_control_characters_and_broken_utf8_in_a_message_are_survived(self) -> None:
        body = b'[{"logId":5,"handleCode":500,"handleMsg":"a\tb\xff"}]'
        (result,) = wire.parse_callback(body, NOW).results
        assert (result.run_id, result.code, result.message) == (5, 500, "a\tb\ufffd")

    @pytest.mark.parametrize(
        "body",
        [b"", b"[", b'[{"logId":5,', b"nonsense", b'"text"', b"7", b"null", b'{"callbackList":null}', b"\xff\xfe",
         b"[" * 100_000, b'{"a":' * 100_000, b'[{"logId":' + b"9" * 5000 + b"}]"],
    )  # fmt: skip
    def test_what_is_no_callback_is_malformed(self, body: bytes) -> None:
        with pytest.raises(wire.MalformedError):
            wire.parse_callback(body, NOW)

    def test_an_empty_array_has_no_results(self) -> None:
        assert wire.parse_callback(b"[]", NOW) == ([], [])


class TestRegistration:
    def test_reads_names_and_address_as_sent(self) -> None:
        body = encoded({"registryGroup": "EXECUTOR", "registryKey": " lab ", "registryValue": "http://h:1"})
        assert wire.parse_registration(body) == ("lab", "http://h:1", False)

    @pytest.mark.parametrize("field", ["registryGroup", "registryKey", "registryValue"])
    @pytest.mark.parametrize("value", ["", "  ", None, [], {"a": 1}, True])
    def test_a_blank_field_is_named(self, field: str, value: object) -> None:
        fields = {
            "registryGroup": "EXECUTOR",
            "registryKey": "lab",
            "registryValue": "http://h:1",
            field: value,
        }
        with pytest.raises(InvalidValue, match=field):
            wire.parse_registration(encoded(fields))

    def test_another_group_is_refused(self) -> None:
        fields = {"registryGroup": "ADMIN", "registryKey": "lab", "registryValue": "http://h:1"}
        with pytest.raises(InvalidValue, match=r"registryGroup.*EXECUTOR"):
            wire.parse_registration(encoded(fields))

    def test_an_array_is_malformed(self) -> None:
        with pytest.raises(wire.MalformedError, match="an array"):
            wire.parse_registration(b"[]")


class TestAnswer:
    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            (b'{"code":200}', (True, 200, "")),
            (b'{"code": 200, "msg": null}', (True, 200, "")),
            (b'{"code":"200"}', (True, 200, "")),
            (b'{"code":200,"msg":"Success","data":"job thread already killed."}', (True, 200, "Success")),
            (b'{"code":200,"content":"text"}', (True, 200, "text")),
            (b'{"code":500,"msg":"no"}', (False, 500, "no")),
            (b'{"code":401}', (False, 401, "")),
            (b'{"code":500,"msg":{"a":1}}', (False, 500, "")),
            (b"{}", (False, 0, "")),
            (b"[]", (False, 500, "refused")),
            (b'[{"logId":1,"executeResult":{"msg":"busy"}}]', (False, 500, "busy")),
        ],
    )
    def test_envelopes(self, body: bytes, expected: tuple[bool, int, str]) -> None:
        answer = wire.parse_answer(200, body)
        assert (answer.ok, answer.code, answer.message) == expected

    @pytest.mark.parametrize(
        ("status", "body"), [(413, b""), (500, b'{"code":200}'), (200, b"<html>"), (200, b'"ok"')]
    )
    def test_what_no_executor_says(self, status: int, body: bytes) -> None:
        with pytest.raises(wire.MalformedError, match=r"HTTP 413|HTTP 500|no JSON|a string"):
            wire.parse_answer(status, body)


class TestLog:
    def page(self, **changes: object) -> LogPage | None:
        fields = {"fromLineNum": 1, "toLineNum": 2, "logContent": "a\nb\n", "isEnd": False, **changes}
        return wire.parse_log(200, encoded({"code": 200, "content": fields}))

    def test_a_page(self) -> None:
        assert self.page() == LogPage(1, 2, "a\nb\n", is_end=False)
        assert self.page(toLineNum="2", logContent=None, isEnd=True) == LogPage(1, 2, "", is_end=True)

    def test_past_the_end_is_a_page(self) -> None:
        assert self.page(fromLineNum=99, toLineNum=0, logContent="") == LogPage(99, 0, "", is_end=False)
        assert self.page(fromLineNum=99, toLineNum=5, logContent="") == LogPage(99, 5, "", is_end=False)

    def test_missing(self) -> None:
        assert self.page(toLineNum=0, logContent="whatever it says", isEnd=True) is None
        assert self.page(toLineNum=1, logContent="whatever it says") is None
        assert wire.parse_log(200, b'{"code":200}') is None

    def test_one_real_line_is_not_missing(self) -> None:
        assert self.page(toLineNum=1, logContent="No such logid logs.\n") is not None

    @pytest.mark.parametrize("body", [b'{"code":500,"msg":"no token"}', b'[{"handleMsg":"no token"}]'])
    def test_a_refusal_proves_nothing(self, body: bytes) -> None:
        with pytest.raises(wire.MalformedError, match="no token"):
            wire.parse_log(200, body)


def job(**changes: Any) -> Job:
    task = changes.pop("task", Task("h"))
    job_id = changes.pop("id", 7)
    return Job(job_id, 1, 1, 0, 1, "name", True, {}, task, **changes)


class TestRequests:
    def test_a_run_has_all_twelve_fields(self) -> None:
        task = Task('你 "h" 100%d', "p", "GLUE_SHELL", "echo %s", 5)
        start = wire.run_start(job(task=task, timeout_s=3, block_strategy=BlockStrategy.COVER_EARLY))
        body = start + wire.text_bytes(task.params) + wire.RUN_NUMBERS % (1 << 33, NOW, 2, 3)
        assert json.loads(body) == {
            "jobId": 7,
            "executorHandler": task.handler,
            "executorParams": "p",
            "executorBlockStrategy": "COVER_EARLY",
            "executorTimeout": 3,
            "logId": 1 << 33,
            "logDateTime": NOW,
            "glueType": "GLUE_SHELL",
            "glueSource": "echo %s",
            "glueUpdatetime": 5,
            "broadcastIndex": 2,
            "broadcastTotal": 3,
        }

    @pytest.mark.parametrize("job_id", [0, -1, 1 << 31])
    def test_a_job_id_beyond_32_bits_is_refused(self, job_id: int) -> None:
        with pytest.raises(InvalidValue, match="jobId"):
            wire.run_start(job(id=job_id))

    def test_the_others(self) -> None:
        assert json.loads(wire.BEAT) == {}
        assert json.loads(wire.job_body(5)) == {"jobId": 5}
        asked = {"logDateTim": NOW, "logDateTime": NOW, "logId": 9, "fromLineNum": 3}
        assert json.loads(wire.log_body(9, NOW, 3)) == asked

    def test_the_envelope_never_has_an_object_in_it(self) -> None:
        assert json.loads(wire.OK) == {"code": 200, "msg": None, "content": None}
        assert json.loads(wire.failure("'你\ud800")) == {"code": 500, "msg": "'你\ud800", "content": None}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(
            ["logId", "handleCode", "handleMsg", "executeResult", "code", "msg", "logDateTim", "callbackList", "data",
             "content", "fromLineNum", "toLineNum", "logContent", "isEnd", "registryGroup", "registryKey"]
        ),
        inner,
        max_size=6,
    ),
    max_leaves=12,
)  # fmt: skip
BODIES = st.binary(max_size=200) | JSON.map(encoded) | JSON.map(lambda value: encoded([value]))


@given(BODIES)
@example(b'[{"logId":' + b"[" * 900 + b"]" * 900 + b',"handleMsg":' + b"[" * 900 + b"]" * 900 + b"}]")
def test_no_body_escapes_the_parsers(body: bytes) -> None:
    for parse in (
        lambda: wire.parse_callback(body, NOW),
        lambda: wire.parse_registration(body),
        lambda: wire.parse_answer(200, body),
        lambda: wire.parse_log(200, body),
    ):
        text = ""
        try:
            parse()
        except (wire.MalformedError, InvalidValue) as error:
            text = str(error)
        assert len(text) < 2000


@given(JSON)
def test_what_is_taken_can_be_stored(value: object) -> None:
    for result in wire.parse_callback(
        encoded([{"logId": 1, "handleMsg": value, "handleCode": value}]), NOW
    ).results:
        assert -(1 << 31) < result.code < 1 << 31
        if result.message is not None:
            result.message.encode()


def test_a_failure_has_no_character_that_2_1_1_cannot_read() -> None:
    said = json.loads(wire.failure('app "x\\y" {1} [2] 你'))
    assert said == {"code": 500, "msg": "app 'x/y' (1) (2) 你", "content": None}
    assert wire.failure('"\\{}[]').count(b"\\") == 0


@pytest.mark.parametrize("version", ["1.5.2", "1.7.0", "1.9.2", "2.0.2", "2.1.2"])
def test_an_old_executor_that_is_called_in_json_is_told_from_its_answer(version: str) -> None:
    answer = next(
        one.answer_body for one in captures_of(version) if one.name in {"garbage-body", "beat", "run"}
    )
    with pytest.raises(wire.MalformedError, match="an executor before"):
        wire.parse_answer(200, answer)
    with pytest.raises(wire.MalformedError) as caught:
        wire.parse_answer(200, b"nonsense")
    assert "2.2.0" not in str(caught.value)


def test_more_results_than_anybody_has_are_refused_at_once() -> None:
    with pytest.raises(wire.MalformedError, match="at most 100000"):
        wire.parse_callback(b"[" + b"0," * wire.MOST_RESULTS + b"0]", NOW)
