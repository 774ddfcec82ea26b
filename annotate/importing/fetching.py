"""Pictures from addresses: only from hosts that the project allows, and never from inside our own network.

The name is looked up once, every address it has is checked, and the connection goes to the one that was checked, so
that a second answer of the name server cannot lead elsewhere. Redirects stay on their host and are checked anew.
"""

import ipaddress
import re
import socket
import time
from collections.abc import Iterable
from urllib.parse import SplitResult, urljoin, urlsplit

import httpx
from django.conf import settings

from annotate.imaging import MOST_BYTES

PORTS = {"http": 80, "https": 443}
SECONDS = 20.0  # for one picture, all in all
MOST_REDIRECTS = 3
HOST = re.compile(
    r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?::\d{1,5})?"
)
TRANSLATED = ipaddress.ip_network("64:ff9b::/96")  # IPv4 behind NAT64
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class FetchError(ValueError):
    """A picture cannot be fetched; the message is the rest of a sentence about it."""


def hosts_in(text: str) -> list[str]:
    """The hosts of a list, one a line or separated by commas, in one form. Raises ValueError for what is no host."""
    hosts = list(dict.fromkeys(word.lower().rstrip(".") for word in re.split(r"[\s,;]+", text) if word))
    for host in hosts:
        if len(host) > 260 or not HOST.fullmatch(host):
            raise ValueError(f"“{host[:80]}” is no host: write it as images.example.org, without https:// and path.")
    return hosts


def check_allowed(url: str, hosts: Iterable[str]) -> SplitResult:
    """The parts of an address whose host is on the list. Raises FetchError; looks nothing up."""
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme, 0)
        host = plain_host(parts)
    except (ValueError, UnicodeError):
        raise FetchError("is no address that can be read") from None
    if parts.scheme not in PORTS or not host or parts.username is not None or parts.password is not None:
        raise FetchError("is no plain http or https address")
    named = host if port == PORTS[parts.scheme] else f"{host}:{port}"
    if named not in hosts:
        raise FetchError(
            f"lies on “{named[:80]}”, which is not among the hosts that pictures may come from: "
            "a manager can add it in the project's settings"
        )
    return parts


def plain_host(parts: SplitResult) -> str:
    """The host as the network knows it, in ASCII; empty where there is none. Raises UnicodeError."""
    return (parts.hostname or "").rstrip(".").encode("idna").decode("ascii") if parts.hostname else ""


def fetch(url: str, hosts: Iterable[str]) -> bytes:
    """The bytes at an address. Raises FetchError."""
    allowed, until = frozenset(hosts), time.monotonic() + SECONDS
    first = check_allowed(url, allowed)
    for _hop in range(MOST_REDIRECTS + 1):
        parts = check_allowed(url, allowed)
        if (parts.hostname, parts.port) != (first.hostname, first.port) or (first.scheme, parts.scheme) == (
            "https",
            "http",
        ):
            raise FetchError("is sent on to another host: name the address where the picture itself lies")
        data, onward = get(parts, until)
        if onward is None:
            return data
        url = urljoin(url, onward)
    raise FetchError("is sent on from address to address: name the one where the picture itself lies")


def get(parts: SplitResult, until: float) -> tuple[bytes, str | None]:
    """(what lies there, None) or (nothing, the address that it is sent on to). Raises FetchError."""
    host, port = plain_host(parts), parts.port or PORTS[parts.scheme]
    address = checked_address(host, port)
    shown = f"[{address}]" if address.version == 6 else str(address)
    target = httpx.URL(parts._replace(netloc=f"{shown}:{port}", fragment="").geturl())
    named = host if port == PORTS[parts.scheme] else f"{host}:{port}"
    headers = {"Host": named, "Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "Plumbline"}
    try:
        # No proxy from the environment: it would connect to an address of its own choosing.
        with (
            httpx.Client(trust_env=False, follow_redirects=False, timeout=SECONDS / 2) as client,
            client.stream("GET", target, headers=headers, extensions={"sni_hostname": host}) as answer,
        ):
            if answer.is_redirect:
                return b"", answer.headers["location"]
            if answer.status_code != 200:
                raise FetchError(f"cannot be fetched: the server answers {answer.status_code}")
            return body_of(answer, until), None
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise FetchError(f"cannot be fetched ({type(error).__name__}): try again, or put it into the file") from None


def body_of(answer: httpx.Response, until: float) -> bytes:
    """At most MOST_BYTES, in time: a server that gives a byte a second holds nobody up."""
    data = bytearray()
    for chunk in answer.iter_raw():
        data += chunk
        if len(data) > MOST_BYTES:
            raise FetchError(f"has more than {MOST_BYTES // 2**20} MB: shrink it")
        if time.monotonic() > until:
            raise FetchError(f"takes longer than {SECONDS:.0f} seconds to fetch: try again, or put it into the file")
    return bytes(data)


def checked_address(host: str, port: int) -> Address:
    """The address to connect to. Raises FetchError where any address of the host lies inside a private network."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise FetchError(f"cannot be fetched: there is no host “{host[:80]}”") from None
    addresses = [ipaddress.ip_address(str(entry[4][0]).split("%")[0]) for entry in found]
    if not settings.FETCH_FROM_PRIVATE_ADDRESSES and not all(is_public(address) for address in addresses):
        raise FetchError(f"cannot be fetched: “{host[:80]}” lies in a private network")
    return addresses[0]


def is_public(address: Address) -> bool:
    """Does it lead to the open internet, also where one address is wrapped in another?"""
    if isinstance(address, ipaddress.IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in TRANSLATED:
            inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if any(one is not None and not is_public(one) for one in inner):
            return False
        if address.ipv4_mapped is not None:
            return True
        if address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved
