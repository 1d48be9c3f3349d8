"""Which addresses may be connected to: public ones, and those that HTTP_REQUEST_ALLOW opens.

Judges addresses as the resolver returned them, so that every spelling of one is judged alike.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from app.domain.targets import Address, AllowedTargets

# Not public although Python's `is_global` says so, or did in some release.
_NOT_PUBLIC = (
    IPv4Network("168.63.129.16/32"),  # Azure's metadata and DNS
    IPv4Network("192.0.0.0/24"),  # IETF protocol assignments; Oracle's metadata
    IPv4Network("192.88.99.0/24"),  # once the relays of 6to4 (RFC 7526)
    IPv6Network("2002::/16"),  # 6to4, which nobody relays any more, with an IPv4 address inside
    IPv6Network("2001::/32"),  # Teredo, with two inside (RFC 4380)
)
# All other IPv6 space is reserved, local or multicast (RFC 4291, section 2.4).
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# Translators deliver to the IPv4 address in the last 32 bits (RFC 6052, section 2.1).
_NAT64 = IPv6Network("64:ff9b::/96")


def parsed(text: str) -> Address:
    """Return an address as a resolver wrote it; an IPv4-mapped one as the IPv4 address it is.

    Raises:
        ValueError: it is none.
    """
    address = ip_address(text)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def may_connect(host: str, address: Address, port: int, allowed: AllowedTargets) -> bool:
    """Return whether a request to this host may go to this address."""
    if allowed.has_host(host, port) or allowed.has_address(address, port):
        return True
    return _is_public(address) and all(
        _is_public(inner) or allowed.has_address(inner, port) for inner in _inside(address)
    )


def _is_public(address: Address) -> bool:
    if address.is_multicast or any(address in network for network in _NOT_PUBLIC):
        return False
    if isinstance(address, IPv4Address):
        return address.is_global
    return address in _NAT64 or (address in _GLOBAL_UNICAST and address.is_global)


def _inside(address: Address) -> Iterator[IPv4Address]:
    """Yield the IPv4 addresses that packets to an IPv6 address may end up at."""
    if address in _NAT64:
        yield IPv4Address(int(address) & 0xFFFF_FFFF)
