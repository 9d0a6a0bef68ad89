import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.cron import parse_cron, run_jsonl
from gateway.core.errors import InvalidValue
from gateway.core.zones import resolve_zone
from tests.unit.core.corpus import REJECT, answer, read

START = 1_795_255_200  # 2026-11-21T10:00:00Z


@pytest.mark.parametrize(
    ("text", "dialect"),
    [
        ("0 9 * * 1", "unix"),
        ("0 0 9 * * ?", "quartz"),
        ("0 0 9 * * ? 2026", "quartz"),
        ("\t0 9  * * 1 \n", "unix"),
    ],
)
def test_the_number_of_fields_picks_the_dialect(text, dialect):
    assert parse_cron(text).dialect == dialect


def test_weekdays_count_as_in_their_dialect():
    zone = resolve_zone("UTC")
    monday = 1_795_392_000 + 9 * 3600
    assert parse_cron("0 9 * * 1").next_after(START, zone) == monday
    assert parse_cron("0 0 9 ? * 2").next_after(START, zone) == monday


def test_the_dialect_can_be_named():
    assert parse_cron("0 9 * * 1", dialect="unix") is parse_cron("0 9 * * 1")
    with pytest.raises(InvalidValue, match="it has 5 fields, not 6 or 7: second minute hour"):
        parse_cron("0 9 * * 1", dialect="quartz")
    with pytest.raises(InvalidValue, match="it has 6 fields, not 5: minute hour"):
        parse_cron("0 0 9 * * ?", dialect="unix")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "",
            "it has 0 fields; 5 (minute hour day-of-month month day-of-week), 6 (second first) or 7 (year last)",
        ),
        ("1 2 3", "it has 3 fields"),
        ("1 2 3 4 5 6 7 8", "it has 8 fields"),
        ("@daily", "names such as @daily are not read"),
        ("0 9 * * 9", "day of week '9'"),
        (None, "a cron expression is a text"),
        (["0 9 * * 1"], "a cron expression is a text"),
    ],
)
def test_bad_expressions_name_field_value_and_what_would_be_right(text, message):
    with pytest.raises(InvalidValue) as refused:
        parse_cron(text, field="schedule.expression")
    assert refused.value.field == "schedule.expression"
    assert refused.value.value == text
    assert message in refused.value.expected


def test_a_huge_text_is_not_repeated_in_the_error():
    with pytest.raises(InvalidValue, match="at most 1000 characters") as refused:
        parse_cron("*" * 100_000)
    assert len(str(refused.value)) < 200


def ask(request):
    (line,) = run_jsonl([request if isinstance(request, str) else json.dumps(request)])
    return json.loads(line)


def test_jsonl_answers():
    request = {"expr": "0 0 9 * * ?", "tz": "UTC", "start_epoch": START, "dialect": "quartz", "count": 2}
    assert ask(request) == {"valid": True, "next": [START + 23 * 3600, START + 47 * 3600]}
    assert ask({"expr": "0 9 * * *", "tz": "UTC", "start_epoch": START})["next"][0] == START + 23 * 3600
    assert len(ask({"expr": "0 9 * * *", "tz": "UTC", "start_epoch": START})["next"]) == 5
    assert ask(request | {"expr": "0 0 9 1 1 ? 2027", "count": 9}) == {
        "valid": True,
        "next": [1_798_794_000, None],
    }
    assert ask(request | {"expr": "0 0 9 1 1 ? 2020"}) == {"valid": True, "next": [None]}


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ("", "line: '' is not valid: it must be a JSON object"),
        ("{", "it must be a JSON object"),
        ("[]", "it must be a JSON object"),
        ("[" * 100_000, "it must be a JSON object"),
        ("1" * 10_000, "it must be a JSON object"),
        ({}, "it must have 'expr'"),
        ({"expr": "0 9 * * *", "tz": "UTC"}, "it must have 'start_epoch'"),
        ({"expr": 5, "tz": "UTC", "start_epoch": 0}, "expr: 5 is not valid: a cron expression is a text"),
        ({"expr": "x", "tz": "UTC", "start_epoch": 0}, "expr: 'x' is not valid: it has 1 fields"),
        ({"expr": "0 9 * * *", "tz": "Mars", "start_epoch": 0}, "tz: 'Mars' is not valid: an IANA time zone"),
        ({"expr": "0 9 * * *", "tz": None, "start_epoch": 0}, "tz: None is not valid"),
        (
            {"expr": "0 9 * * *", "tz": "UTC", "start_epoch": "0"},
            "start_epoch: '0' is not valid: a whole number",
        ),
        ({"expr": "0 9 * * *", "tz": "UTC", "start_epoch": 1.5}, "start_epoch: 1.5"),
        ({"expr": "0 9 * * *", "tz": "UTC", "start_epoch": 10**20}, "start_epoch: 1000"),
        ({"expr": "0 9 * * *", "tz": "UTC", "start_epoch": 0, "count": 0}, "count: 0 is not valid"),
        ({"expr": "0 9 * * *", "tz": "UTC", "start_epoch": 0, "count": True}, "count: True is not valid"),
        (
            {"expr": "0 9 * * *", "tz": "UTC", "start_epoch": 0, "dialect": "vixie"},
            "dialect: 'vixie' is not valid",
        ),
        ({"expr": "0 9 * * *", "tz": "UTC", "start_epoch": 0, "dialect": []}, "dialect: [] is not valid"),
    ],
)
def test_jsonl_says_what_is_wrong(request_, error):
    reply = ask(request_)
    assert reply["valid"] is False
    assert error in reply["error"]


@given(
    st.one_of(
        st.text(), st.recursive(st.none() | st.text() | st.floats() | st.integers(), st.lists).map(json.dumps)
    )
)
def test_jsonl_never_fails(line):
    assert ask(line)["valid"] is False


@given(
    st.text(alphabet="0123456789*/,-?LW# JANMON\t", max_size=40), st.sampled_from([None, "quartz", "unix"])
)
def test_any_text_is_an_expression_or_invalid(text, dialect):
    try:
        expression = parse_cron(text, dialect=dialect)
    except InvalidValue as error:
        assert error.value == text  # noqa: PT017 - the other outcome is as good
    else:
        following = expression.next_after(START, resolve_zone("Europe/Berlin"))
        assert following is None or following > START


def test_jsonl_gives_the_golden_answers():
    for dialect in ("quartz", "unix"):
        cases = read(f"{dialect}-cases.jsonl")[::10]
        requests = [
            json.dumps(
                {
                    "expr": c["expr"],
                    "tz": c["tz"],
                    "start_epoch": c["start_epoch"],
                    "dialect": dialect,
                    "count": 5,
                }
            )
            for c in cases
        ]
        for case, line in zip(cases, run_jsonl(requests), strict=True):
            reply = json.loads(line)
            assert (reply["next"] if reply["valid"] else REJECT) == answer(case, dialect), case["id"]
