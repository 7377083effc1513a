"""URIs that may hold secrets: what must not stand on a command line, and how the rest is shown."""

import re
from urllib.parse import parse_qsl, unquote

_VARIABLE = re.compile(r"\$\{[^{}]*\}")
"""OmegaConf's names of variables, which say nothing."""

_USER_AND_PASSWORD = re.compile(r"://[^/@\s:]*:(?!\d+/)[^@\s]+@")
"""A password may hold a slash; a port does not have an @ behind it, unless in a path."""

_TOKEN_AS_USER = re.compile(r"https?://[^/@\s:]+@")

_IN_A_QUERY = re.compile(
    r"(?:^|[?&;])(?:[\w.-]*(?:passw(?:or)?d|passphrase|secret|token|signature|credential|api_?key|access_?key|account_?key|"
    r"private_?key)[\w.-]*|pwd|pass|sig|sas)=[^&;\s]",
    re.IGNORECASE,
)


def holds_secret(text: str) -> bool:
    """Whether a URI in ``text`` holds a password, token or key, in a form that databases, trackers and stores take."""
    plain = _VARIABLE.sub("", unquote(unquote(text)))
    if _USER_AND_PASSWORD.search(plain) or _TOKEN_AS_USER.search(plain):
        return True
    return any(_IN_A_QUERY.search(query) for query in re.findall(r"://[^\s?]*(\?\S*)", plain))


def public_uri(uri: str) -> str:
    """``uri`` without user, password and query. Azure has the container where others have the user."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return uri.partition("?")[0]
    location = rest.partition("?")[0]
    user, _, host = location.rpartition("@")  # a password may hold a slash
    container = f"{user.partition(':')[0]}@" if user and scheme.startswith("abfs") else ""
    return f"{scheme}://{container}{host}"


def without_secrets(text: str, uri: str) -> str:
    """``text``, such as a library's error, with ``uri`` as ``public_uri`` has it, and nothing else of what that leaves out."""
    text = text.replace(uri, public_uri(uri))
    rest = uri.partition("://")[2]
    location, _, query = rest.partition("?")
    user, _, _ = location.rpartition("@")
    named = [value for name, value in parse_qsl(query) if _IN_A_QUERY.search(f"?{name}={value};{value}")]
    for secret in (query, user.partition(":")[2] or user, *named):
        for written in filter(None, (secret, unquote(secret))):
            text = text.replace(written, "***")
    return text
