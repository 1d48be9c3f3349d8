"""HTTP_REQUEST_ALLOW and HTTP_REQUEST_SECRET as values: which targets are open, and the key."""

import base64
import binascii
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_HOST = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?")
_SECRET_PREFIX = "whsec_"  # noqa: S105 - not a secret, but what marks one


@dataclass(frozen=True, slots=True)
class AllowedTargets:
    """What an operator has opened; a port of None means any port."""

    hosts: frozenset[tuple[str, int | None]] = frozenset()
    networks: tuple[tuple[Network, int | None], ...] = ()

    def has_host(self, host: str, port: int) -> bool:
        """Return whether a URL's host is open by its name, whatever addresses it has."""
        name = host.lower().removesuffix(".")
        return (name, None) in self.hosts or (name, port) in self.hosts

    def has_address(self, address: Address, port: int) -> bool:
        """Return whether an address is open."""
        return any(
            address in network for network, of_port in self.networks if of_port in {None, port}
        )


def parse_targets(text: str) -> AllowedTargets:
    """Read comma-separated hosts, host:port, addresses, address:port and networks.

    Raises:
        ValueError: an entry is none of these; the text says which.
    """
    hosts: set[tuple[str, int | None]] = set()
    networks: list[tuple[Network, int | None]] = []
    for entry in (part.strip() for part in text.split(",")):
        if not entry:
            continue
        network = _network(entry)
        if network is not None:
            networks.append((network, None))
            continue
        name, port = _split_port(entry)
        address = _address(name)
        if address is not None:
            networks.append((ip_network(address), port))
        elif _is_host(name):
            hosts.add((_ascii(name).removesuffix("."), port))
        else:
            raise ValueError(
                f"{entry!r} is not a host, host:port, address or network such as 10.0.0.0/8"
            )
    return AllowedTargets(frozenset(hosts), tuple(networks))


def _network(entry: str) -> Network | None:
    if "/" not in entry:
        address = _address(entry)
        return None if address is None else ip_network(address)
    if "://" in entry:
        raise ValueError(f"{entry!r} is a URL; name its host, or host:port")
    try:
        return ip_network(entry)
    except ValueError as error:
        raise ValueError(f"{entry!r} is not a network: {error}") from None


def _split_port(entry: str) -> tuple[str, int | None]:
    name, separator, digits = entry.rpartition(":")
    if not separator or entry.endswith("]"):
        return entry, None
    if not (re.fullmatch("[0-9]{1,5}", digits) and 1 <= int(digits) <= 65_535):
        raise ValueError(f"{entry!r} does not end in a port from 1 to 65535")
    if ":" in name and not name.startswith("["):
        raise ValueError(f"{entry!r} needs brackets around its IPv6 address, as in [::1]:8080")
    return name, int(digits)


def _address(text: str) -> Address | None:
    bracketed = text.startswith("[") and text.endswith("]")
    try:
        address = ip_address(text[1:-1] if bracketed else text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        # The same place; addresses are compared in this form.
        return address.ipv4_mapped
    return address


def _is_host(name: str) -> bool:
    # A name of digits and dots alone is a misspelt address.
    return bool(_HOST.fullmatch(_ascii(name)) and not re.fullmatch(r"[0-9.]+", name))


def _ascii(name: str) -> str:
    """Return a host name as it stands in a request (RFC 5890); as it is, if it has no such form."""
    try:
        return name.lower().encode("idna").decode("ascii")
    except UnicodeError:
        return name.lower()


def signing_key(secret: str) -> bytes:
    """Return the key that a secret stands for; an empty one for no secret.

    A secret that begins with `whsec_` is base64, any other one plain text
    (https://www.standardwebhooks.com, "Symmetric", under "Signature scheme").

    Raises:
        ValueError: what follows `whsec_` is not base64.
    """
    if not secret.startswith(_SECRET_PREFIX):
        return secret.encode()
    try:
        key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ValueError("must be plain text, or whsec_ followed by base64")
    return key
