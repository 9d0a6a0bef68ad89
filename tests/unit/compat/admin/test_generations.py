"""Which admin a caller takes this for."""

from __future__ import annotations

import pytest

from compat.admin.generations import Generation, of_session, of_stranger, told

G2, G3A, G3B = Generation
OLD, NEW = "XXL_JOB_LOGIN_IDENTITY", "xxl_job_login_token"


@pytest.mark.parametrize(
    ("path", "names", "said"),
    [
        ("/jobinfo/add", (), G2),
        ("/jobinfo/insert", (), G3B),
        ("/jobgroup/save", (), G2),
        ("/jobgroup/delete", ("ids[]",), G3B),
        ("/user/updatePwd", (), G2),
        ("/auth/updatePwd", (), G3B),
        ("/jobinfo/pageList", ("start", "length"), G2),
        ("/jobinfo/pageList", ("length",), G2),
        ("/joblog/pageList", ("offset", "pagesize"), G3B),
        ("/jobgroup/pageList", ("appname",), None),
        ("/jobinfo/start", ("id",), G2),
        ("/jobinfo/stop", ("ids[]",), G3B),
        ("/jobinfo/update", ("id",), None),
        ("/jobinfo/trigger", ("id", "executorParam"), None),
    ],
)
def test_what_an_address_and_its_parameters_say(path, names, said):
    assert told(path, names) is said


@pytest.mark.parametrize(
    ("style", "said", "wanted"),
    [
        (G2, None, G2),
        (G2, G2, G2),
        (G2, G3B, G3B),
        (G3B, None, G3B),
        (G3B, G3B, G3B),
        (G3B, G2, G3A),
        (G3A, None, G3A),
        (G3A, G3B, G3B),
    ],
)
def test_the_session_decides_where_the_call_says_nothing(style, said, wanted):
    assert of_session(style, said) is wanted


@pytest.mark.parametrize(
    ("prefix", "cookies", "said", "wanted"),
    [
        ("/xxl-job-admin", (), None, G2),
        ("", (), None, G3B),
        ("", (OLD,), None, G2),
        ("/xxl-job-admin", (NEW,), None, G3B),
        ("/xxl-job-admin", (NEW,), G2, G3A),
        ("", (), G2, G2),
        ("/xxl-job-admin", (OLD, NEW), G3B, G3B),
        ("/xxl-job-admin", (OLD, NEW), None, G2),
    ],
)
def test_strangers_are_refused_in_their_own_words(prefix, cookies, said, wanted):
    assert of_stranger(prefix, cookies, said) is wanted
