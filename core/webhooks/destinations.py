"""Which URLs webhooks may go to: what can be said of a URL by itself, and of the addresses that its host has."""

from __future__ import annotations

import ipaddress
import queue
import re
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from core.errors import InvalidInput
from core.settings import Network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str], Sequence[str]]  # the addresses of a host; raises OSError
MAX_URL = 2000
PORTS = frozenset({443, 8443})
# One strict pattern is the only reader of a URL, so that nobody reads it in another way: ASCII, no user, no fragment.
URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>[/?][\x21\x24-\x3b=\x3f-\x5b\x5d_a-z~%]*)?"
)
LABELS = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*\.?")
NUMERIC = re.compile(r"(.*\.)?(\d+|0x[0-9a-f]*)\.?")  # what some readers take for an address: 2130706433, 0x7f.1, 127.1
GLOBAL_UNICAST = ipaddress.IPv6Network(
    "2000::/3"
)  # leaves out mapped, translated (64:ff9b::), site- and link-local ones
# of those that are global by name, some lead back into IPv4, some to a cloud's own services, some nowhere
NOT_PUBLIC = tuple(
    map(
        ipaddress.ip_network,
        ["192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"],
    )
)


class Refused(Exception):
    """A host that webhooks do not go to: it has an address that is not public, or none."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Target:
    """A URL in its parts."""

    scheme: str
    host: str  # without brackets
    port: int
    path: str

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == {"https": 443, "http": 80}[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True)
class Rules:
    """Public addresses by https at the usual ports; and whatever lies in the networks that the operator has named."""

    networks: tuple[Network, ...] = ()

    def read(self, url: str) -> Target:
        """Take a URL apart; raises InvalidInput where nothing could make it one that webhooks go to."""
        if len(url) > MAX_URL:
            raise _invalid(f"The URL is longer than {MAX_URL:,} characters.")
        found = URL.fullmatch(url)
        if found is None:
            raise _invalid(_why(url))
        host, port = found["host"].lower(), int(found["port"] or {"https": 443, "http": 80}[found["scheme"]])
        target = Target(found["scheme"], _host(host), port, _path(found["path"]))
        if not self.networks and target.scheme != "https":
            raise _invalid("Webhooks go to https:// addresses only.")
        if not self.networks and port not in PORTS:
            raise _invalid("Webhooks go to the ports 443 and 8443 only.")
        return target

    def admit(self, target: Target, addresses: Sequence[str]) -> list[Address]:
        """Return the addresses to connect to; raises Refused unless every single one may be."""
        if not addresses:
            raise Refused("unresolvable")
        read = [_unmapped(ipaddress.ip_address(address)) for address in addresses]
        if not all(self._allowed(target, address) for address in read):
            raise Refused("refused_address")
        return list(dict.fromkeys(read))

    def _allowed(self, target: Target, address: Address) -> bool:
        if any(address in network for network in self.networks):
            return True
        return target.scheme == "https" and target.port in PORTS and public(address)

    def check(self, url: str, resolve: Resolve, seconds: float) -> Target:
        """Read a URL and look at its host's addresses, so that a bad one is refused at once; raises InvalidInput.

        A host that has no address now may have one later: requests look again, each at what it then connects to.
        """
        target = self.read(url)
        with suppress(OSError):
            try:
                self.admit(target, addresses_of(target.host, resolve, seconds))
            except Refused as refused:
                if refused.code == "refused_address":
                    raise _invalid(
                        "The host of this URL has an address that webhooks do not go to: private, loopback, "
                        "link-local, reserved, or not by https at port 443 or 8443."
                    ) from None
        return target


def public(address: Address) -> bool:
    """Tell whether an address can be anybody's on the internet."""
    if any(address in network for network in NOT_PUBLIC) or address.is_multicast or not address.is_global:
        return False
    return address.version == 4 or address in GLOBAL_UNICAST


def lookup(host: str) -> list[str]:
    """Ask the system's resolver for the addresses of a host; raises OSError."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def addresses_of(host: str, resolve: Resolve, seconds: float) -> list[str]:
    """Resolve a host within a time, which resolvers themselves do not keep; raises OSError, TimeoutError among them."""
    answers: queue.SimpleQueue[list[str] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(list(resolve(host)))
        except (OSError, UnicodeError):
            answers.put(OSError("no address"))

    threading.Thread(target=ask, name="resolver", daemon=True).start()
    try:
        answer = answers.get(timeout=max(0.0, seconds))
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(answer, OSError):
        raise answer
    return answer


def _unmapped(address: Address) -> Address:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _host(host: str) -> str:
    bare = host.strip("[]")
    if host.startswith("[") or NUMERIC.fullmatch(host):
        try:
            return str(ipaddress.ip_address(bare))
        except ValueError:
            raise _invalid(
                "The host of this URL looks like an address but is none; write it in its usual form."
            ) from None
    if LABELS.fullmatch(host) is None:
        raise _invalid("The host of this URL is not a name.")
    return host.removesuffix(".")  # certificates are made out without it


def _path(path: str | None) -> str:
    return f"/{path}" if path and path.startswith("?") else path or "/"


def _why(url: str) -> str:
    """Say what is wrong with a URL, without repeating it."""
    if re.match(r"https?://", url) is None:
        return "Webhooks go to https:// addresses only."
    if "@" in re.split(r"[/?#]", url.partition("://")[2])[0]:
        return "A webhook's URL takes no user name or password; the signature tells who sends."
    if "#" in url:
        return "A webhook's URL takes no fragment (#...)."
    if not url.isascii():
        return "Write the URL in ASCII: the host in punycode (xn--...), the rest percent-encoded."
    return "This is not a URL that can be called: https://host/path."


def _invalid(message: str) -> InvalidInput:
    return InvalidInput(message, code="invalid_url", param="url")
