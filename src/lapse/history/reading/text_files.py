"""Delivered text made readable: its encoding found out or followed, its lines ended in one way, in bounded memory."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from lapse.core.errors import DataError, SettingsError
from lapse.core.tables.contract import nearest

CHUNK = 1 << 20
SAMPLE = 1 << 16
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it starts with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# What a delivery is likely to be in when it is no UTF-8. The detector is not let loose on the other hundred.
GUESSES = ["cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "shift_jis", "gb18030", "big5", "euc_kr"]
# Python calls these encodings too, but they are not texts as a delivery has them.
NO_TEXT = {"idna", "punycode", "raw-unicode-escape", "unicode-escape", "undefined", "mbcs", "oem"}


@dataclass(frozen=True)
class Text:
    """A text that DuckDB can read as UTF-8: where it is, which encoding it came in, and its first characters."""

    path: Path
    encoding: str
    head: str
    has_quotes: bool


def readable_text(path: Path, encoding: str | None, temporary: Path, where: str) -> Text:
    """Return a UTF-8 text of a delivered file, written to `temporary` if it has to be converted.

    `encoding` None: it is detected. DataError when the file is not in the named encoding, or is cut off in the middle
    of its compression; SettingsError for a name that is not an encoding.
    """
    try:
        with opened(path) as source:
            named = codec_of(encoding, where) if encoding else _encoding_of(path)
            start = source.read(SAMPLE)
            if named == "utf-8" and start.startswith(codecs.BOM_UTF8):
                named = "utf-8-sig"
        one_way, has_quotes = _looked_over(path) if named.startswith("utf-8") else (False, True)
        if not (named.startswith("utf-8") and one_way and not path.name.casefold().endswith(".zst")):
            _transcode(path, named, temporary)
            path = temporary
        with opened(path) as source:
            head = source.read(16 * SAMPLE).decode("utf-8-sig", errors="replace")
    except UnicodeError as error:
        at = f" at byte {error.start:,} of a part" if isinstance(error, UnicodeDecodeError) else ""
        raise DataError(f"{where}: {path} is not in {encoding or 'its encoding'}: unreadable text{at}. Leave encoding out "
                        "to have it detected, or name the right one.") from None  # fmt: skip
    except (EOFError, OSError, ValueError, zlib.error) as error:
        raise DataError(f"{where}: {path} cannot be read ({_reason(error)}). Ask for the delivery again.") from None
    return Text(path, named, head, has_quotes)


def codec_of(name: str, where: str) -> str:
    """Return Python's own name of an encoding; SettingsError when it is not a text encoding."""
    try:
        found = codecs.lookup(name)
        known = found.name
        codecs.getincrementaldecoder(known)()
        if known in NO_TEXT or not isinstance(found.decode(b"", "strict")[0], str):
            raise LookupError
    except (LookupError, ValueError, TypeError, EOFError, zlib.error):
        usual = ["utf-8", "utf-16", "latin-1", "cp1252", "cp1250", "cp1251", "shift_jis", "gb18030"]
        raise SettingsError(f"{where}.encoding: {name!r} is not a text encoding. {nearest(name, usual)}") from None
    return "utf-8" if known == "utf-8" else known


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading bytes, unpacked when its name ends in .gz or .zst."""
    ending = path.suffix.casefold()
    if ending == ".gz":
        with gzip.open(path) as packed:
            yield cast("IO[bytes]", packed)
    elif ending == ".zst":
        import pyarrow as pa

        with pa.input_stream(str(path), compression="zstd") as source:
            yield source
    else:
        with path.open("rb") as source:
            yield source


def _chunks(path: Path) -> Iterator[bytes]:
    with opened(path) as source:
        while chunk := source.read(CHUNK):
            yield chunk


def _encoding_of(path: Path) -> str:
    """Return the encoding of a file: by its mark, else UTF-8 when all of it is, else by the detector's guess."""
    with opened(path) as source:
        start = source.read(SAMPLE)
    for mark, encoding in MARKS.items():
        if start.startswith(mark):
            return encoding
    zeros = [start[place::2].count(0) / max(1, len(start) / 2) for place in (0, 1)]
    if max(zeros) > 0.4 and min(zeros) < 0.1:
        return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
    decoder, kept = codecs.getincrementaldecoder("utf-8")(), b""
    for chunk in _chunks(path):
        try:
            decoder.decode(chunk)
        except UnicodeDecodeError as error:
            return _guess(kept[-SAMPLE:] + chunk, len(kept[-SAMPLE:]) + max(0, error.start))
        kept = chunk
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return _guess(kept, len(kept))
    return "utf-8"


def _guess(piece: bytes, fault: int) -> str:
    """Return the likeliest encoding of bytes that are not all UTF-8.

    When most of the non-ASCII bytes are good UTF-8, the file is UTF-8 with damaged lines: they are rejected and
    counted.
    """
    around = piece[max(0, fault - SAMPLE) : fault + SAMPLE]
    damaged = around.decode("utf-8", errors="replace").count("\N{REPLACEMENT CHARACTER}")
    good = sum(char > "\x7f" for char in around.decode("utf-8", errors="ignore"))
    if good > damaged:
        return "utf-8"
    from charset_normalizer import from_bytes

    # Only the lines with something else than ASCII tell anything.
    telling = b"\n".join(line for line in around.splitlines() if not line.isascii()) or around
    best = from_bytes(telling, cp_isolation=GUESSES).best()
    if best is None:
        return "latin-1"
    if best.encoding in ("cp1250", "cp1254"):
        # A few names do not tell these from cp1252, which is the likeliest when it turns as many bytes into letters.
        letters = {name: sum(map(str.isalpha, telling.decode(name, "replace"))) for name in (best.encoding, "cp1252")}
        return max(("cp1252", best.encoding), key=lambda name: letters[name])
    return best.encoding


def _looked_over(path: Path) -> tuple[bool, bool]:
    """Return whether all lines end alike, in LF or in CR LF, and whether the file holds a quote.

    DuckDB gives up on a file that mixes the two ends, or ends lines in CR alone.
    """
    plain = pairs = alone = 0
    has_quotes = False
    last = b""
    for chunk in _chunks(path):
        joined = last + chunk
        last = b"\r" if joined.endswith(b"\r") else b""
        body = joined[: len(joined) - len(last)]
        both = body.count(b"\r\n")
        pairs += both
        plain += body.count(b"\n") - both
        alone += body.count(b"\r") - both
        has_quotes = has_quotes or b'"' in body
    return not (pairs and plain) and not alone and not last, has_quotes


def _transcode(path: Path, encoding: str, temporary: Path) -> None:
    """Write a file as UTF-8 with every line ended by LF; lines damaged in UTF-8 stay damaged."""
    errors = "surrogateescape" if encoding.startswith("utf-8") else "strict"
    with opened(path) as source, temporary.open("w", encoding="utf-8", errors=errors, newline="") as target:
        reader = io.TextIOWrapper(source, encoding=encoding, errors=errors, newline=None)
        while piece := reader.read(CHUNK):
            target.write(piece)


def _reason(error: BaseException) -> str:
    """Return one short line of a system error."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:200]
