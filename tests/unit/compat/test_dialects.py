"""Who calls, and the one spelling of an address."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from compat import dialects
from compat.http1 import split_address
from gateway.core.errors import InvalidValue


@pytest.mark.parametrize(
    ("agent", "client"),
    [
        ("Java/17.0.15", "java/17.0.15"),
        ("Java/1.8.0_392", "java/1.8.0_392"),
        ("Go-http-client/1.1", "go"),
        ("axios/1.7.4", "node"),
        ("Python/3.11 aiohttp/3.14.5", "pyxxl"),
        ("Python-urllib/3.11", "python-urllib"),
        ("GuzzleHttp/7", "guzzlehttp"),
        ("xxljob-gateway", "xxljob-gateway"),
        ("", "unknown"),
        ("x" * 300, "x" * 64),
    ],
)
def test_clients(agent: str, client: str) -> None:
    assert dialects.client_of(CIMultiDict({"user-agent": agent})) == client


def test_a_client_is_text_that_every_database_takes() -> None:
    """aiohttp hands out bytes that are no UTF-8 as halves of surrogate pairs."""
    assert dialects.client_of({"User-Agent": "java/1\udcff7"}) == "java/1?7"
    assert dialects.client_of({"User-Agent": "\udcff\u4e2d"}) == "??"


def test_the_app_name_header_tells_3_5() -> None:
    assert dialects.dialect_of(CIMultiDict({"xxl-job-appname": "lab"})) == "rest35"
    assert dialects.dialect_of(CIMultiDict({})) == "rest"
    assert dialects.run_method("rest35") == "trigger"
    assert dialects.run_method("rest") == dialects.run_method("unheard of") == "run"


@pytest.mark.parametrize(
    ("dialect", "client", "real"),
    [
        ("rest", "java/17.0.15", True),
        ("rest", "pyxxl", True),
        ("rest35", "", True),
        ("rest", "xxljob-gateway", True),
        ("rest", "go", False),
        ("rest", "node", False),
        ("rest", "unknown", False),
        ("rest", "", False),
    ],
)
def test_whose_log_is_real(dialect: str, client: str, real: bool) -> None:
    assert dialects.log_is_real(dialect, client) is real


@pytest.mark.parametrize(
    ("sent", "normal"),
    [
        ("http://127.0.0.1:9999/", "http://127.0.0.1:9999/"),
        ("http://127.0.0.1:9999", "http://127.0.0.1:9999/"),
        (" http://127.0.0.1:9999/job ", "http://127.0.0.1:9999/job/"),
        ("http://127.0.0.1:9999/job//", "http://127.0.0.1:9999/job/"),
        ("HTTPS://My_Host.Local/A/b", "https://my_host.local/A/b/"),
        ("http://[::1]:9999", "http://[::1]:9999/"),
    ],
)
def test_one_spelling(sent: str, normal: str) -> None:
    assert dialects.normal_address(sent) == normal
    assert dialects.normal_address(normal) == normal


@pytest.mark.parametrize(
    "sent",
    ["ftp://h/", "http://", "http:///x", "http://h:0/", "http://h:65536/", "http://h:x/", "http://[:::]/", "http://[1]/",
     "http://h/?a=1", "http://h/#x", "http://u:p@h/", "http://h h/", "http://h/a b", "http://h/\r\nX: y", "http://主机/",
     "http://h/" + "a" * 250, "javascript:alert(1)"],
)  # fmt: skip
def test_what_cannot_be_called_is_refused(sent: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        dialects.normal_address(sent)
    assert caught.value.field == "registryValue"
    assert len(str(caught.value)) < 600


@given(st.text(max_size=40) | st.from_regex(r"https?://[a-z0-9.:\[\]-]{1,20}(/[!-~]{0,20})?", fullmatch=True))
def test_every_accepted_address_can_be_called_and_is_stable(text: str) -> None:
    try:
        address = dialects.normal_address(text)
    except InvalidValue:
        return
    assert dialects.normal_address(address) == address
    origin, prefix = split_address(address)
    assert origin.host
    assert prefix.endswith("/")


def test_a_host_and_a_port_alone_are_what_old_releases_register() -> None:
    assert dialects.normal_address("10.0.0.7:9999") == "http://10.0.0.7:9999/"
    assert dialects.normal_address(" [FE80::1]:9999 ") == "http://[fe80::1]:9999/"
    for wrong in ("10.0.0.7", "10.0.0.7:0", "10.0.0.7:99999", ":9999", "a b:9999", "10.0.0.7:9999/x"):
        with pytest.raises(InvalidValue):
            dialects.normal_address(wrong)


def test_generations_are_told_by_their_registration() -> None:
    assert dialects.dialect_of({}, "10.0.0.7:9999") == "xxlrpc21"
    assert dialects.dialect_of({}, "10.0.0.7:9999", is_old=True) == "netcom17"
    assert dialects.dialect_of({}, "http://10.0.0.7:9999/") == "rest"
    theirs = {"content-encoding": "utf-8", "user-agent": "Apache-HttpClient/4.3.6 (java 1.5)"}
    assert dialects.sends_no_token(CIMultiDict(theirs))
    for other in ({"content-encoding": "gzip"}, {"user-agent": "Java/17"}, {"xxl-job-access-token": "x"}):
        assert not dialects.sends_no_token(CIMultiDict(theirs | other))
