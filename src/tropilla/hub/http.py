"""Open a URL carefully: few redirects, no step down to plain HTTP, the token for its own host only."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from typing import IO

from tropilla import __version__
from tropilla.errors import PullError

MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long to wait for a server: seconds of silence, tries in a row without a byte, first pause."""

    timeout_s: float = 30.0
    attempts: int = 5
    first_pause_s: float = 0.5

    def pause_s(self, failures: int) -> float:
        """Return the pause after that many failures in a row: it doubles each time."""
        return float(self.first_pause_s * 2 ** (failures - 1))


class NoAnswerError(Exception):
    """The server could not be reached, fell silent or failed; trying again may help."""


class RefusedError(Exception):
    """The server answered with a status that trying again will not change."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"HTTP status {status}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """An answer's body and headers; linked_etag is what a redirecting hub said of the file itself."""

    body: IO[bytes]
    status: int
    headers: Message
    linked_etag: str | None

    def read(self, n_bytes: int) -> bytes:
        """Return at most that many bytes of the body, b"" at its end; raises NoAnswerError."""
        try:
            return self.body.read(n_bytes)
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswerError(_words(error)) from error


def open_url(url: str, *, headers: Mapping[str, str], token: str | None, timeout_s: float) -> Response:
    """Send a GET and follow redirects; the caller closes the body.

    Raises NoAnswerError, RefusedError, or PullError for a redirect that is not followed.
    """
    home, linked_etag = _origin(url), None
    for _ in range(MAX_REDIRECTS + 1):
        secret = {"Authorization": f"Bearer {token}"} if token and _origin(url) == home else {}
        answer = _send(url, {**headers, **secret}, timeout_s)
        linked_etag = linked_etag or answer.headers.get("X-Linked-Etag")
        if answer.status not in _REDIRECTS:
            if answer.status >= 400:
                answer.close()
                raise _failure(answer.status)
            return Response(
                body=answer, status=answer.status, headers=answer.headers, linked_etag=linked_etag
            )
        answer.close()
        url = redirect_target(url, answer.headers.get("Location"))
    raise PullError(f"{home} redirects in circles (more than {MAX_REDIRECTS} times); try again later")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Leave redirects to open_url, which watches where they lead."""

    def redirect_request(self, *_: object) -> None:
        return None


def _send(url: str, headers: Mapping[str, str], timeout_s: float) -> http.client.HTTPResponse:
    basics = {"User-Agent": f"tropilla/{__version__}", "Accept-Encoding": "identity"}
    request = urllib.request.Request(url, headers={**basics, **headers})
    opener = urllib.request.build_opener(_NoRedirects)
    try:
        answer: http.client.HTTPResponse = opener.open(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        return error  # type: ignore[return-value]  # has the answer's status, headers, read and close
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoAnswerError(_words(error)) from error
    return answer


def _failure(status: int) -> NoAnswerError | RefusedError:
    retry = status >= 500 or status in (408, 425, 429)
    return NoAnswerError(f"HTTP status {status}") if retry else RefusedError(status)


def redirect_target(url: str, location: str | None) -> str:
    """Return where a redirect leads; raise PullError for another protocol or a step down to plain HTTP."""
    target = urllib.parse.urljoin(url, location or "")
    old, new = urllib.parse.urlsplit(url).scheme, urllib.parse.urlsplit(target).scheme
    if not location or new not in ("http", "https") or (old, new) == ("https", "http"):
        raise PullError(f"{_origin(url)} redirects to {location or 'nowhere'}, which is not followed")
    return target


def _origin(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _words(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    return "it fell silent" if isinstance(reason, TimeoutError) else str(reason) or type(reason).__name__
