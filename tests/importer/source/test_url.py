"""What people write for a source, and what of it may be shown."""

from __future__ import annotations

import pytest

from gateway.core.errors import InvalidValue
from importer.source.url import PASSWORD_VARIABLE, SourceUrl, parse_source


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mysql://u:p@h:3307/xxl_job", SourceUrl("h", 3307, "u", "xxl_job", "p")),
        ("mysql+aiomysql://u:p@h/xxl_job", SourceUrl("h", 3306, "u", "xxl_job", "p")),
        ("mariadb://u:@h/xxl-job", SourceUrl("h", 3306, "u", "xxl-job", "")),
        (" mysql://u:p@h/xxl_job ", SourceUrl("h", 3306, "u", "xxl_job", "p")),
        ("mysql://u:a%40b%2Fc@h/d", SourceUrl("h", 3306, "u", "d", "a@b/c")),
        ("mysql://u:a@b/c:100%@h/d", SourceUrl("h", 3306, "u", "d", "a@b/c:100%")),
        ("mysql://u:p@[::1]:3307/d", SourceUrl("::1", 3307, "u", "d", "p")),
        ("mysql://u:p@h/d?ssl=true", SourceUrl("h", 3306, "u", "d", "p", tls=True)),
        (
            "mysql://u:p@h/d?ssl_ca=/etc/ca.pem",
            SourceUrl("h", 3306, "u", "d", "p", tls=True, ca="/etc/ca.pem"),
        ),
        (
            "mysql://u:p@/d?unix_socket=/run/my.sock",
            SourceUrl("127.0.0.1", 3306, "u", "d", "p", socket="/run/my.sock"),
        ),
        ("mysql://u@h/d", SourceUrl("h", 3306, "u", "d", "from the environment")),
    ],
)
def test_addresses(text, expected):
    assert parse_source(text, environ={PASSWORD_VARIABLE: "from the environment"}) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "mysql://USER:PASSWORD@HOST:PORT/DATABASE"),
        ("xxl_job", "mysql://"),
        ("mysql://root:hunter2@h", "names no database"),
        ("mysql://root:hunter2@h/", "names no database"),
        ("mysql://root:hunter2@h/a/b", "names no database"),
        ("mysql://h/xxl_job", "names no user"),
        ("mysql://:hunter2@h/xxl_job", "names no user"),
        ("mysql://root:hunter2/xxl_job", "names no user"),
        ("mysql://root:hunter2@h:port/xxl_job", "a port is a number"),
        ("mysql://root:hunter2@h:0/xxl_job", "a port is a number"),
        ("mysql://root:hunter2@h:65536/xxl_job", "a port is a number"),
        ("mysql://root:hunter2@[::1/xxl_job", "a port is a number"),
        ("mysql://root:hunter2@h/d?useSSL=false", "useSSL=*** is not known"),
        ("mysql://root:hunter2@h/d?ssl=perhaps", "ssl=*** is not known"),
        ("mysql://root@h/d?passwd=hunter2", "passwd=*** is not known"),
        ("mysql://root@h/d?pwd=hunter2&ssl=true", "pwd=*** is not known"),
        ("mysql://root@h/d?ssl=hunter2", "ssl=*** is not known"),
        ("mysql://root@h/d?hunter2", "*** is not known"),
        ("mysql://root@h:x/d?pass=hunter2", "a port is a number"),
        ("sqlite:///xxl.db", "only MySQL"),
        ("sqlite:///xxl.db?pass=hunter2", "only MySQL"),
        ("jdbc:mysql://(host=h,password=hunter2)/d", "write mysql://USER:PASSWORD@HOST:PORT/DATABASE"),
        ("postgresql://root:hunter2@h/d", "only MySQL"),
        ("jdbc:postgresql://h/d?user=u&password=hunter2", "only MySQL"),
        ("http://root:hunter2@h/d", "mysql://"),
        (
            "jdbc:mysql://10.0.0.1:3306/xxl_job?useUnicode=true&user=root&password=hunter2",
            "write mysql://USER:PASSWORD@10.0.0.1:3306/xxl_job",
        ),
    ],
)
def test_what_is_wrong_is_said_without_the_password(text, told):
    with pytest.raises(InvalidValue) as raised:
        parse_source(text, environ={})
    assert str(raised.value).startswith("--source: ")
    assert told in str(raised.value)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "mysql://root:hunter2@h/d%00",
        "mysql://root:hunter2@h/d\0",
        "mysql://ro%1bot:hunter2@h/d",
        "mysql://root:hunter2%0a@h/d",
        "mysql://root:hunter2@h\x9b/d",
        "mysql://root:hunter2@h/d?ssl_ca=%0d",
        "mysql://root:hunter2@h/d?%1b[2J=x",
        "mysql://root:hunter2@h/d\udcff",
        "jdbc:mysql://h/d\x1b",
    ],
)
def test_control_characters_are_refused_and_not_shown(text):
    with pytest.raises(InvalidValue, match="control character") as raised:
        parse_source(text, environ={})
    assert str(raised.value).isprintable()
    assert "hunter2" not in str(raised.value)


def test_the_field_is_the_callers():
    with pytest.raises(InvalidValue, match=r"^source_url: "):
        parse_source("sqlite://", "source_url")


def test_a_password_is_never_shown():
    url = parse_source("mysql://root:hunter2@h:3307/xxl_job")
    assert "hunter2" not in f"{url} {url!r} {url.name}"
    assert (url.name, str(url)) == ("xxl_job@h:3307", "mysql://root:***@h:3307/xxl_job")
