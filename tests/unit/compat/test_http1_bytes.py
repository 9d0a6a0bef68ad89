"""What goes onto the wire and what is read from it, without any wire."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compat.http1 import (
    Answer,
    AnswerReader,
    BadAnswerError,
    Origin,
    PreparedBody,
    request_bytes,
    request_head,
    split_address,
)

NETTY = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/html;charset=UTF-8\r\n"
    b'content-length: 12\r\nconnection: keep-alive\r\n\r\n{"code":200}'
)
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'8;note=1\r\n{"code":\r\n004\r\n200}\r\n0\r\nExpires: never\r\n\r\n'
)
CONTINUED = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + NETTY
ANSWER = Answer(200, b'{"code":200}', keep_alive=True)


def read(data: bytes, *, max_bytes: int = 1000) -> Answer | None:
    return AnswerReader(max_bytes).feed(data)


@pytest.mark.parametrize("data", [NETTY, CHUNKED, CONTINUED], ids=["length", "chunked", "continued"])
class TestWholeAnswers:
    def test_in_one_piece(self, data):
        assert read(data) == ANSWER

    def test_byte_by_byte(self, data):
        reader = AnswerReader(1000)
        pieces = [reader.feed(data[i : i + 1]) for i in range(len(data))]
        assert pieces == [None] * (len(data) - 1) + [ANSWER]

    def test_bytes_after_the_end_cost_the_connection(self, data):
        assert read(data + b"H") == ANSWER._replace(keep_alive=False)

    @given(st.data())
    def test_in_any_pieces(self, data, draws):
        cuts = sorted(draws.draw(st.sets(st.integers(1, len(data) - 1))))
        reader = AnswerReader(1000)
        answers = [reader.feed(data[a:b]) for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        assert answers[-1] == ANSWER


@pytest.mark.parametrize(
    ("head", "keep_alive"),
    [
        (b"HTTP/1.1 200 OK", True),
        (b"HTTP/1.1 200", True),
        (b"HTTP/1.1 200 OK\r\nConnection: Close", False),
        (b"HTTP/1.1 200 OK\r\nConnection: Keep-Alive", True),
        (b"HTTP/1.0 200 OK", False),
        (b"HTTP/1.0 200 OK\r\nCONNECTION:keep-alive", True),
    ],
)
def test_keep_alive(head, keep_alive):
    assert read(head + b"\r\nContent-Length: 2\r\n\r\nab") == Answer(200, b"ab", keep_alive)


@pytest.mark.parametrize("status", [204, 304])
def test_answers_that_never_have_a_body(status):
    assert read(b"HTTP/1.1 %d x\r\nContent-Length: 5\r\n\r\n" % status) == Answer(
        status, b"", keep_alive=True
    )


def test_a_body_that_ends_with_the_connection():
    reader = AnswerReader(1000)
    assert reader.feed(b"HTTP/1.1 200 OK\r\n\r\nab") is None
    assert reader.feed(b"cd") is None
    assert reader.end() == Answer(200, b"abcd", keep_alive=False)


@pytest.mark.parametrize("data", [NETTY[:-1], CHUNKED[:-1], NETTY[:30], b""])
def test_an_answer_cut_short_is_none(data):
    reader = AnswerReader(1000)
    assert reader.feed(data) is None
    assert reader.end() is None


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 2000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"a" * 2000,
    ],
)
def test_garbage(data):
    with pytest.raises(BadAnswerError):
        read(data)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n3e8\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * 1001,
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000,
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    ],
    ids=["length", "chunked", "until close", "endless head", "long head"],
)
def test_too_much(data):
    with pytest.raises(BadAnswerError, match="longer than"):
        read(data)


def test_plain_heads_are_remembered_and_their_number_is_bounded():
    heads = {}
    for number in range(1000):
        AnswerReader(1000, heads).feed(b"HTTP/1.1 200 OK\r\nX-Id: %d\r\nContent-Length: 0\r\n\r\n" % number)
    assert 0 < len(heads) <= 256
    AnswerReader(1000, heads).feed(CHUNKED)
    assert all(head.length == 0 for head in heads.values())


def test_a_whole_request():
    origin, prefix = split_address("http://10.0.0.7:9999/")
    data = request_bytes(origin, prefix + "beat", {"XXL-JOB-ACCESS-TOKEN": ""}, b'""')
    assert data == (
        b"POST /beat HTTP/1.1\r\nHost: 10.0.0.7:9999\r\nConnection: keep-alive\r\n"
        b'XXL-JOB-ACCESS-TOKEN: \r\nContent-Length: 2\r\n\r\n""'
    )


@given(st.integers(-(2**63), 2**63), st.integers(-(2**63), 2**63), st.binary())
def test_numbers_are_spliced_into_a_prepared_body(a, b, text):
    head = request_head(Origin("http", "h", 80), "/run", {})
    data = PreparedBody(b"<" + text, b"%s %% %d", b">").request(head, a, b)
    body = b"<%b%d%%s %%%% %%d%d>" % (text, a, b)
    assert data == head + b"%d" % len(body) + b"\r\n\r\n" + body


def test_a_prepared_body_is_the_json_it_stands_for():
    prepared = PreparedBody(b'{"logId":', b',"executorParams":"100%","logDateTime":', b"}")
    _, _, body = prepared.request(b"", 2**32, 1795247421259).partition(b"\r\n\r\n")
    assert json.loads(body) == {"logId": 2**32, "executorParams": "100%", "logDateTime": 1795247421259}


@pytest.mark.parametrize(
    ("url", "origin", "prefix", "authority"),
    [
        ("http://127.0.0.1:9999/", Origin("http", "127.0.0.1", 9999), "/", "127.0.0.1:9999"),
        (" http://127.0.0.1:9999", Origin("http", "127.0.0.1", 9999), "/", "127.0.0.1:9999"),
        (
            "https://jobs.example.com/a/b",
            Origin("https", "jobs.example.com", 443),
            "/a/b/",
            "jobs.example.com",
        ),
        ("http://[::1]:80/", Origin("http", "::1", 80), "/", "[::1]"),
        ("https://h:80/", Origin("https", "h", 80), "/", "h:80"),
    ],
)
def test_addresses(url, origin, prefix, authority):
    assert split_address(url) == (origin, prefix)
    assert origin.authority == authority


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:9999", "ftp://h/", "http:///x", "http://h:99999/", "http://h/?a=1"]
)
def test_addresses_that_cannot_be_called(url):
    with pytest.raises(ValueError):
        split_address(url)


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("run", {}),
        ("/r n", {}),
        ("/r\r\nX: 1", {}),
        ("/", {"A": "1\r\nB: 2"}),
        ("/", {"A B": "1"}),
        ("/", {"A": "日"}),
    ],
)
def test_heads_that_would_break_the_request(path, headers):
    with pytest.raises(ValueError):
        request_head(Origin("http", "h", 80), path, headers)
