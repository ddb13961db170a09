"""What goes wrong between here and the Hub, each in one line: what happened, why, and what to do."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
from huggingface_hub import constants
from huggingface_hub.errors import (
    DisabledRepoError,
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from convert.hub.reference import Reference
from mlx_mixer.errors import HubError, MixerError, ModelNotFoundError
from mlx_mixer.foreign import quoted


class HubUnreachableError(ModelNotFoundError):
    """There is no way to the Hub, or it is out of order: what is in the cache may still do."""


@contextmanager
def explained(reference: Reference | None, doing: str) -> Iterator[None]:
    """Turn what the client raises into one line.

    Args:
        reference: The repository it is about, if any.
        doing: What was being done, to end "while ..." with.

    Raises:
        HubUnreachableError: Without a network, offline, or if the Hub is out of order.
        ModelNotFoundError: If the repository is absent or its owner must agree first.
        HubError: For everything else.
    """
    try:
        yield
    except MixerError:
        raise
    except OfflineModeIsEnabled as error:
        raise HubUnreachableError(
            f"HF_HUB_OFFLINE is set, so the Hub is not asked while {doing}; unset it to go online"
        ) from error
    except HfHubHTTPError as error:
        raise _of_status(error, reference, doing) from error
    except FileMetadataError as error:
        raise HubError(_not_the_hub(doing)) from error
    except HFValidationError as error:
        raise HubError(f"the Hub's client refuses the name: {_first_line(error)}") from error
    except httpx2.TimeoutException as error:
        raise HubUnreachableError(f"the Hub did not answer in time while {doing}; try again later") from error
    except httpx2.TooManyRedirects as error:
        raise HubError(f"the Hub sent the request in circles while {doing}") from error
    except (httpx2.ConnectError, httpx2.ProxyError) as error:
        raise HubUnreachableError(
            f"{constants.ENDPOINT} cannot be reached while {doing}; check the network ({_first_line(error)})"
        ) from error
    except httpx2.HTTPError as error:
        raise HubUnreachableError(f"the connection broke while {doing}; try again ({_first_line(error)})") from error
    except json.JSONDecodeError as error:
        raise HubError(_not_the_hub(doing)) from error
    # A server may answer with JSON of any shape, and the client takes its fields on trust.
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RecursionError) as error:
        raise HubError(f"the Hub's answer cannot be understood while {doing} ({type(error).__name__})") from error


def gated_words(repo: str) -> str:
    """What to do about a repository whose owner asks for consent."""
    return (
        f"{repo} is gated: log in at {constants.ENDPOINT}/{repo}, accept its conditions, then set HF_TOKEN to a token "
        f"from {constants.ENDPOINT}/settings/tokens"
    )


def _of_status(error: HfHubHTTPError, reference: Reference | None, doing: str) -> MixerError:
    status = error.response.status_code
    repo = "it" if reference is None else reference.repo
    if isinstance(error, GatedRepoError):
        return ModelNotFoundError(gated_words(repo))
    if isinstance(error, RevisionNotFoundError):
        return ModelNotFoundError(f"{repo} has no branch, tag or commit {quoted(reference and reference.revision)}")
    if isinstance(error, RemoteEntryNotFoundError):
        return ModelNotFoundError(f"{repo} lacks a file that it lists; it was changed while {doing}: try again")
    if isinstance(error, DisabledRepoError):
        return ModelNotFoundError(f"the Hub has disabled {repo}")
    if status == 401 and error.response.request.headers.get("authorization"):
        return ModelNotFoundError(
            f"the Hub refuses the token in HF_TOKEN for {repo} (401); see {constants.ENDPOINT}/settings/tokens"
        )
    if isinstance(error, RepositoryNotFoundError) or status in (401, 404):
        return ModelNotFoundError(
            f"there is no repository {repo} on the Hub; if it is private, set HF_TOKEN to a token that may read it"
        )
    if status == 403:
        return ModelNotFoundError(
            f"the Hub does not allow this for {repo} (403); the token in HF_TOKEN lacks the right"
        )
    if status == 429:
        return HubError(f"the Hub asks to slow down (429); try again in {retry_after(error.response)}, or set HF_TOKEN")
    if status >= 500:
        return HubUnreachableError(f"the Hub is out of order ({status}) while {doing}; try again later")
    return HubError(f"the Hub refuses with status {status} while {doing}")


def retry_after(response: httpx2.Response) -> str:
    """How long a response asks to wait, in words."""
    value = response.headers.get("retry-after", "")
    return f"{int(value)} seconds" if value.isascii() and value.isdigit() and len(value) < 7 else "a few minutes"


def _not_the_hub(doing: str) -> str:
    return (
        f"the answer did not come from the Hub while {doing}; a login page of this network, a proxy or HF_ENDPOINT "
        "may be in the way"
    )


def _first_line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:160]
