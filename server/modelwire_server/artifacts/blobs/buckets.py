"""The way to a bucket: its URL, and what its answers mean."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeAlias, cast
from urllib.parse import parse_qsl, urlsplit

import structlog
from obstore.exceptions import (
    BaseError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnknownConfigurationKeyError,
)
from obstore.store import AzureStore, GCSStore, S3Store, from_url

from ...errors import StartError, StorageFull, StorageUnavailable

log = structlog.get_logger(__name__)

Bucket: TypeAlias = S3Store | GCSStore | AzureStore

# What is said about the connection; anything else in a URL is said to the store.
_CONNECTION_FLAGS = ("allow_http", "allow_invalid_certificates")
_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
# A request that is not answered must not take up a caller's patience; a large one may go on for as long as bytes come.
_TIMEOUTS = {"connect_timeout": timedelta(seconds=5), "read_timeout": timedelta(seconds=30), "timeout": timedelta(days=1)}
_RETRIES = {
    "max_retries": 4,
    "retry_timeout": timedelta(seconds=15),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2), "base": 2},
}
# An object that tells whether objects can be made.
PROBE = "probe"
_FULL = ("507 ", "QuotaExceeded", "StorageFull")


def open_bucket(url: str) -> Bucket:
    """The bucket behind a URL such as `s3://BUCKET/PREFIX?endpoint=...`. What the URL does not say, the variables of the store's
    own tools do (AWS_ACCESS_KEY_ID ...). Nothing is sent. Raises StartError."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    connection: Any = {flag: options.pop(flag).lower() in ("1", "true") for flag in _CONNECTION_FLAGS if flag in options}
    if _endpoint(options).startswith("http://"):
        connection["allow_http"] = True
    place = f"{parts.scheme}://{parts.netloc}{parts.path}"
    how: Any = {"config": options, "client_options": {**_TIMEOUTS, **connection}, "retry_config": _RETRIES}
    try:
        return cast("Bucket", from_url(place, **how))
    except UnknownConfigurationKeyError as error:
        raise StartError(f"blobs_url: {first_line(error)}") from None
    except (BaseError, ValueError) as error:
        raise StartError(f"blobs_url: {place} cannot be opened: {first_line(error)}") from None


def _endpoint(options: Mapping[str, str]) -> str:
    in_url = [value for key, value in options.items() if key.lower().removeprefix("aws_").startswith("endpoint")]
    return next(iter((*in_url, *filter(None, map(os.environ.get, _ENDPOINT_VARIABLES)))), "")


@contextmanager
def answers(*, gone: str = "") -> Iterator[None]:
    """Turns what a bucket answers into our own errors: StorageUnavailable, StorageFull. FileNotFoundError stays, for there is no such
    object; unless it means that something is `gone`."""
    try:
        yield
    except FileNotFoundError as error:
        if not gone:
            raise
        log.error("something is gone from the object store", what=gone, error=first_line(error))
        raise StorageUnavailable(f"{gone} is gone from the object store") from error
    except BaseError as error:
        log.error("the object store does not do as it should", error=first_line(error))
        if is_refusal(error):
            raise StorageUnavailable("the object store refuses access to the content") from error
        if any(mark in str(error) for mark in _FULL):
            raise StorageFull("the object store that holds the content is full") from error
        raise StorageUnavailable("the object store does not answer") from error


async def check_access(bucket: Bucket, place: str) -> None:
    """Lists, writes and deletes, since a server that could not would fail its callers later. Raises StartError for what somebody
    has to set up, StorageUnavailable for what may pass."""
    try:
        async for _ in bucket.list(PROBE):
            break
        await bucket.put_async(PROBE, b"")
        await bucket.delete_async(PROBE)
    except (BaseError, FileNotFoundError) as error:
        why = first_line(error)
        if is_refusal(error):
            must = "its keys must allow to list, read, write and delete"
            raise StartError(f"blobs_url: {place} refuses access; {must} ({why})") from None
        if isinstance(error, FileNotFoundError) or "NoSuchBucket" in str(error):
            raise StartError(f"blobs_url: there is no bucket for {place}; create it first") from None
        raise StorageUnavailable(f"the object store {place} does not answer: {why}") from error


def is_refusal(error: Exception) -> bool:
    # What a list meets has no type of its own.
    statuses = ("401 Unauthorized", "403 Forbidden")
    return isinstance(error, PermissionDeniedError | UnauthenticatedError) or any(status in str(error) for status in statuses)


def first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
