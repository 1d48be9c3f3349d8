"""Which URLs may be asked for. Addresses are another matter: a name says nothing about them."""

import re
from ipaddress import IPv6Address

import httpx

LONGEST_URL = 8192

_SCHEMES = {"http": 80, "https": 443}
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
# Controls, blanks and what browsers read as a slash.
_UNWANTED = re.compile(r"[\x00-\x20\x7f-\xa0\\]")
# An "@" before the path: what stands before it is a user's name (RFC 3986, section 3.2.1).
_USERINFO = re.compile(r"[^/?#]*//[^/?#]*@")


class UnfitUrl(ValueError):
    """A URL that is not to be asked for; the text says why and does not repeat it."""


def checked(url: str) -> httpx.URL:
    """Return a URL that may be asked for, without its fragment.

    Raises:
        UnfitUrl: it may not.
    """
    if len(url) > LONGEST_URL:
        raise UnfitUrl(f"must have at most {LONGEST_URL} characters")
    if _UNWANTED.search(url):
        raise UnfitUrl("must not contain blanks, control characters or backslashes")
    _refuse_userinfo(url)
    try:
        return _fit(httpx.URL(url))
    except httpx.InvalidURL:
        # Its text may repeat parts of the URL.
        raise UnfitUrl("must be a valid URL") from None


def following(current: httpx.URL, location: str) -> httpx.URL:
    """Return where a redirect leads.

    Raises:
        UnfitUrl: nowhere that may be asked for.
    """
    if len(location) > LONGEST_URL or _UNWANTED.search(location):
        raise UnfitUrl("must be a valid URL")
    _refuse_userinfo(location)
    try:
        return _fit(current.join(location))
    except httpx.InvalidURL:
        raise UnfitUrl("must be a valid URL") from None


def _refuse_userinfo(url: str) -> None:
    if _USERINFO.match(url):
        raise UnfitUrl("must not contain a user name or password; use a header")


def _fit(url: httpx.URL) -> httpx.URL:
    if url.scheme not in _SCHEMES:
        raise UnfitUrl("must begin with http:// or https://")
    if not _is_host(url.raw_host.decode("ascii")):
        raise UnfitUrl("must have a valid host name or address")
    if not 1 <= port_of(url) <= 65_535:
        raise UnfitUrl("must have a port from 1 to 65535")
    return url.copy_with(fragment=None)


def _is_host(host: str) -> bool:
    if ":" in host:
        try:
            return IPv6Address(host).scope_id is None
        except ValueError:
            return False
    labels = host.removesuffix(".").split(".")
    # RFC 1035, section 2.3.4.
    fits = len(host) <= 253 and all(1 <= len(label) <= 63 for label in labels)
    return fits and _NAME.fullmatch(host) is not None


def port_of(url: httpx.URL) -> int:
    """Return the port that a URL names or implies."""
    return url.port if url.port is not None else _SCHEMES[url.scheme]


def origin(url: httpx.URL) -> tuple[str, str, int]:
    """Return what makes two URLs lead to the same server (RFC 9110, section 4.3.1)."""
    return url.scheme, url.host, port_of(url)
