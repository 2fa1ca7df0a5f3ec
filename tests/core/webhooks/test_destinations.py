"""Which URLs and which addresses webhooks go to: every spelling of a private one is refused."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Sequence

import pytest

from core.errors import InvalidInput
from core.settings import Settings
from core.webhooks.destinations import Refused, Rules, Target, addresses_of, lookup, public

PUBLIC = Rules()
LOCAL = Rules(Settings(webhook_private_networks="127.0.0.0/8, 10.1.0.0/16").webhook_networks)
BAD_URLS = {
    "": "https",
    "hook": "https",
    "http://example.com/": "https",
    "ftp://example.com/": "https",
    "file:///etc/passwd": "https",
    "gopher://example.com/": "https",
    "HTTPS://example.com/": "https",
    "https://": "not a URL",
    "https:///x": "not a URL",
    "https://user:pass@example.com/": "user name",
    "https://user@example.com/": "user name",
    "https://example.com/#x": "fragment",
    "https://exämple.com/": "punycode",
    "https://example.com/ä": "ASCII",
    "https://example.com:22/": "ports",
    "https://example.com:6379/": "ports",
    "https://example.com:80/": "ports",
    "https://example.com:0/": "ports",
    "https://example.com:99999/": "ports",
    "https://example.com\\@127.0.0.1/": "user name",
    "https://example.com/\\x": "not a URL",
    "https://exa mple.com/": "not a URL",
    "https://example.com/\r\nX: y": "not a URL",
    "https://exa%6dple.com/": "not a URL",
    "https://-example.com/": "not a name",
    "https://example..com/": "not a name",
    "https://[::1/": "not a URL",
    "https://[::1%25eth0]/": "not a URL",
    "https://[::1]x/": "not a URL",
    "https://2130706433/": "none",
    "https://0x7f.1/": "none",
    "https://0x7f000001/": "none",
    "https://017700000001/": "none",
    "https://127.1/": "none",
    "https://0177.0.0.1/": "none",
    "https://127.0.0.1.": "none",
    "https://1.2.3.4.5/": "none",
    "https://[:::]/": "none",
    "https://" + "a" * 64 + ".com/": "not a name",
    "https://example.com/" + "x" * 2000: "longer",
}
GOOD_URLS = {
    "https://example.com": ("example.com", 443, "/"),
    "https://Example.COM:8443/a/b?c=d&e=%20": ("example.com", 8443, "/a/b?c=d&e=%20"),
    "https://xn--exmple-cua.com?x": ("xn--exmple-cua.com", 443, "/?x"),
    "https://[2606:4700::1111]/": ("2606:4700::1111", 443, "/"),
    "https://8.8.8.8/x": ("8.8.8.8", 443, "/x"),
    "https://example.com./x": ("example.com", 443, "/x"),
}
PRIVATE = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "192.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "192.88.99.1",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::7f00:1",
    "fe80::1",
    "fec0::1",
    "fc00::1",
    "fd12::1",
    "ff02::1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "192.0.0.9",
    "192.0.0.192",
    "168.63.129.16",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "3fff::1",
    "100::1",
]


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_url_that_nothing_could_make_good_is_refused_with_its_reason(url: str) -> None:
    with pytest.raises(InvalidInput, match=BAD_URLS[url]) as refused:
        PUBLIC.read(url)
    assert refused.value.code == "invalid_url"
    assert len(url) < 9 or url not in refused.value.message


@pytest.mark.parametrize("url", GOOD_URLS)
def test_a_good_url_is_taken_apart(url: str) -> None:
    target = PUBLIC.read(url)
    assert (target.host, target.port, target.path) == GOOD_URLS[url]


def target(host: str = "hooks.test", scheme: str = "https", port: int = 443) -> Target:
    return Target(scheme, host, port, "/")


@pytest.mark.parametrize("address", PRIVATE)
def test_no_request_goes_to_an_address_that_is_not_public(address: str) -> None:
    with pytest.raises(Refused, match="refused_address"):
        PUBLIC.admit(target(), [address])
    with pytest.raises(Refused, match="refused_address"):
        PUBLIC.admit(target(), ["8.8.8.8", address, "2606:4700::1111"])


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8"])
def test_public_addresses_are_connected_to(address: str) -> None:
    read = ipaddress.ip_address(address)
    assert PUBLIC.admit(target(), [address, address]) == [getattr(read, "ipv4_mapped", None) or read]


def test_no_range_that_is_not_global_is_taken_for_public() -> None:
    """Against Python's own lists, over addresses everywhere."""
    for number in range(0, 2**32, 9_999_991):
        address = ipaddress.IPv4Address(number)
        assert not public(address) or (address.is_global and not address.is_multicast and not address.is_reserved)
    for number in range(0, 2**128, 2**128 // 997):
        v6 = ipaddress.IPv6Address(number)
        assert not public(v6) or (v6.is_global and not (v6.is_multicast or v6.is_site_local or v6.sixtofour))


def test_named_networks_are_open_and_nothing_else_is() -> None:
    for scheme, port, address in (
        ("http", 8080, "127.0.0.1"),
        ("https", 443, "10.1.2.3"),
        ("http", 80, "::ffff:127.0.0.9"),
    ):
        assert LOCAL.admit(target(scheme=scheme, port=port), [address])
    for scheme, port, address in (
        ("http", 80, "8.8.8.8"),
        ("https", 6379, "8.8.8.8"),
        ("https", 443, "10.2.0.1"),
        ("http", 80, "::1"),
    ):
        with pytest.raises(Refused, match="refused_address"):
            LOCAL.admit(target(scheme=scheme, port=port), [address])


def test_a_host_without_an_address_may_have_one_later() -> None:
    def nothing(host: str) -> Sequence[str]:
        raise OSError

    assert PUBLIC.check("https://hooks.test/", nothing, 1).host == "hooks.test"
    with pytest.raises(InvalidInput, match="private, loopback"):
        PUBLIC.check("https://hooks.test/", lambda _: ["8.8.8.8", "10.0.0.1"], 1)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "[::ffff:7f00:1]"])
def test_the_systems_own_resolver_leads_nobody_inside(host: str) -> None:
    with pytest.raises(InvalidInput, match="private, loopback"):
        PUBLIC.check(f"https://{host}/", lookup, 5)


def test_a_resolver_that_says_nothing_is_not_waited_for() -> None:
    with pytest.raises(TimeoutError):
        addresses_of("hooks.test", lambda _: time.sleep(3) or [], 0.1)
