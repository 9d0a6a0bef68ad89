"""Who may call an address: schemes, networks, domains, and what proxies say."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.envs import merged, with_envs
from gateway.core.trigger_url import Caller, Restriction, Rules, Said, caller_of, why_not

TRUSTED = (ipaddress.ip_network("10.0.0.0/24"), ipaddress.ip_network("fd00::/8"))
PROXY = "10.0.0.1"


def called(peer=PROXY, scheme="http", *, trusted=TRUSTED, **said):
    found = caller_of(scheme, peer, Said(**said), trusted)
    return found.scheme, None if found.address is None else str(found.address)


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("198.51.100.1, 203.0.113.9", "203.0.113.9"),  # the first may be made up
        ("198.51.100.1,203.0.113.9,10.0.0.7", "203.0.113.9"),
        ("203.0.113.9:51000", "203.0.113.9"),
        ("[2001:db8::1]:51000", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("10.0.0.9", "10.0.0.9"),
        ("", None),  # a proxy that does not say
        ("unknown", None),
        ("203.0.113.9, unknown", None),
        ("10.0.0.1.5", None),
    ],
)
def test_the_address_behind_a_trusted_proxy(forwarded, address):
    assert called(forwarded_for=forwarded)[1] == address


@pytest.mark.parametrize("peer", ["203.0.113.7", "10.0.1.1", "2001:db8::5"])
def test_nobody_else_is_believed(peer):
    assert called(peer, forwarded_for=PROXY, forwarded_proto="https") == ("http", peer)
    assert called(PROXY, trusted=(), forwarded_for="1.2.3.4", forwarded_proto="https") == ("http", PROXY)


@pytest.mark.parametrize(("said", "scheme"), [("https", "https"), ("http, HTTPS", "https"), ("", "http")])
def test_the_scheme_behind_a_trusted_proxy(said, scheme):
    assert called(forwarded_for="1.2.3.4", forwarded_proto=said)[0] == scheme


def test_a_proxy_reached_over_ipv6():
    assert called("::ffff:10.0.0.1", forwarded_for="203.0.113.9") == ("http", "203.0.113.9")
    assert called("fd00::1", forwarded_for="203.0.113.9") == ("http", "203.0.113.9")


@given(st.lists(st.sampled_from(["10.0.0.5", "1.2.3.4", "x", "", "fd00::2"]), max_size=6))
def test_what_a_caller_makes_up_never_changes_who_it_is(made_up):
    """A trusted proxy appends the caller's address to whatever it was sent."""
    assert called(forwarded_for=",".join([*made_up, "203.0.113.9"]))[1] == "203.0.113.9"


def allowed(rules, **how):
    address = how.pop("address", "203.0.113.9")
    caller = Caller(
        how.get("scheme", "https"),
        None if address is None else ipaddress.ip_address(address),
        how.get("origin", ""),
    )
    return why_not(rules, caller) is None


def test_schemes():
    assert allowed(Rules(), scheme="http")
    assert not allowed(Rules(schemes=("https",)), scheme="http")
    assert not allowed(Rules(), scheme="gopher")


def test_networks():
    rules = Rules(restriction=Restriction.CIDR, allowed=("203.0.113.0/29", "2001:db8::/32"))
    assert not allowed(rules)
    assert allowed(rules, address="203.0.113.7")
    assert allowed(rules, address="2001:db8:1::1")
    assert not allowed(rules, address=None)


def test_domains():
    rules = Rules(restriction=Restriction.DOMAIN, allowed=("example.com", "*.example.org"))
    for origin in ("example.com", "a.example.org", "b.a.example.org"):
        assert allowed(rules, origin=origin)
    for origin in ("", "a.example.com", "example.org", "badexample.org", "example.com.evil.net"):
        assert not allowed(rules, origin=origin)


def test_the_host_of_a_page():
    for text, host in (
        ("https://Example.com:8443", "example.com"),
        ("http://a.b/c?d", "a.b"),
        ("null", ""),
        ("http://[", ""),
    ):
        assert caller_of("http", "1.2.3.4", Said(origin=text), ()).origin == host


@given(
    st.builds(
        Rules, st.just(("GET", "HEAD")), st.just(("http",)), st.sampled_from(Restriction), st.just(("a",))
    )
)
def test_rules_are_kept_as_they_are(rules):
    assert Rules.of(rules.text()) == rules


def test_envs_go_over_the_jobs_own_by_name():
    own = (("A", "1"), ("B", "2"))
    assert merged(own, [("B", "3"), ("C", "4")]) == (("A", "1"), ("B", "3"), ("C", "4"))
    assert with_envs("day=1", ()) == "day=1"
    assert with_envs('"x" 中', own) == (
        '{"params":"\\"x\\" 中","Envs":[{"name":"A","value":"1"},{"name":"B","value":"2"}]}'
    )
