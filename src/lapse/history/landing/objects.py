"""Objects in a store (s3://, gs://, az://): fetched whole through fsspec, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lapse.core.errors import DataError
from lapse.core.files import atomic_write
from lapse.history.landing.secrets import Secret

CHUNK = 1 << 22
EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az", "abfss": "az"}
# What stores call the mark that changes with the content, and the time and size that do so mostly.
MARKS = ("ETag", "etag", "md5Hash", "content_md5", "generation", "LastModified", "updated", "last_modified", "mtime",
         "created", "size")  # fmt: skip


def object_fingerprint(url: Secret, where: str) -> str:
    """Return a text that changes when the object does: ETag, time and size."""
    with translate_errors(url, where):
        info = _store(url)[2]
    return "; ".join(f"{mark}={info[mark]}" for mark in MARKS if info.get(mark) is not None)


def land_object(url: Secret, path: Path, where: str) -> int:
    """Copy an object to a whole file, and return how many bytes it has."""
    with translate_errors(url, where), atomic_write(path) as temporary:
        store, name, info = _store(url)
        landed = 0
        with store.open(name, "rb") as source, temporary.open("wb") as target:
            while chunk := source.read(CHUNK):
                landed += target.write(chunk)
        if landed != info.get("size", landed):
            raise DataError(f"{where}: {landed:,} of {info['size']:,} bytes of {url} arrived. Run it again.")
    return landed


def _store(url: Secret) -> tuple[Any, str, dict[str, Any]]:
    from fsspec.core import url_to_fs

    # Listings are not kept from one look to the next: the object may have changed since.
    store, name = url_to_fs(url.text, use_listings_cache=False, skip_instance_cache=True)
    info = store.info(name)
    if info.get("type") == "directory":
        raise IsADirectoryError(f"{url} is a folder")
    return store, name, info


@contextmanager
def translate_errors(url: Secret, where: str) -> Iterator[None]:
    """Raise whatever a store says as a DataError without a password."""
    try:
        yield
    except DataError:
        raise
    except ImportError:
        extra = EXTRAS.get(url.scheme, url.scheme)
        raise DataError(
            f"{where}: reading {url.scheme}:// needs a further package. Install it: pip install 'lapse[{extra}]'."
        ) from None
    except FileNotFoundError:
        raise DataError(f"{where}: {url} is not there. Check land.tables in params.yaml.") from None
    except Exception as error:  # each store's library has errors of its own
        raise DataError(f"{where}: {url} cannot be read ({type(error).__name__}: {url.without_secrets(error)}). Check the "
                        "URL and the credentials.") from None  # fmt: skip
