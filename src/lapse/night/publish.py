"""Publishing what was scored last: the newest day of the archive, or what `dvc repro` left in data/."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from lapse.core.errors import LapseError, PublishFailed
from lapse.core.files import file_sha256
from lapse.core.logging import stage_logger
from lapse.core.paths import Paths
from lapse.core.process import held
from lapse.history.landing.secrets import secret_url
from lapse.night.archive import LISTS, MANIFEST, SCORES, Archive
from lapse.night.manifest import Manifest
from lapse.outreach.publish import WHERE, Made, publish
from lapse.outreach.stage import CUSTOMERS, DECISIONS

LOG = stage_logger("publish")
URL = "LAPSE_PUBLISH_URL"
"""The variable that holds the URL, unless another is given."""


def publish_latest(root: Path, out: Path, to: str | None, keep_days: int | None) -> dict[str, int]:
    """Publish the newest day of the archive `out`, or of `root`/data where it has none; return the rows by view.

    `to`: a URL, its password as ${NAME}; None: what LAPSE_PUBLISH_URL holds. Errors as in outreach.publish, and
    PublishFailed where the files are not what the manifest says, or are replaced meanwhile.
    """
    url = secret_url(to or f"${{{URL}}}", os.environ, WHERE)
    with newest(root, out) as made:
        rows = publish(made, url, keep_days)
    for name, count in rows.items():
        LOG.info(f"{name}: {count:,} rows as of {made.as_of}")
    if made.crr is None:
        LOG.info("lapse_crr was not published: run `dvc repro retention`, which counts it")
    return rows


@contextmanager
def newest(root: Path, out: Path) -> Iterator[Made]:
    """Yield the files to publish; LapseError where nobody was scored yet."""
    paths, run = Paths(root, root / "data"), Archive(out).latest()
    crr = paths.retention / "crr.parquet"
    known = crr if crr.exists() else None
    if run is None:
        for path in (paths.scores, paths.lists / CUSTOMERS, paths.lists / DECISIONS):
            if not path.exists():
                raise LapseError(
                    f"{path} is not there, and {out} holds no scored day. Run `dvc repro lists` or `lapse score`."
                )
        with held(paths.data, "score"):
            day, of_lists = _day_of(paths.scores, "cutoff_date"), _day_of(paths.lists / CUSTOMERS, "as_of")
            if day != of_lists:
                raise LapseError(f"publish: the scores are as of {day}, the lists as of {of_lists}. Make the lists anew: "
                                 "`dvc repro lists`.")  # fmt: skip
            yield Made(day, paths.scores, paths.lists, known, lambda: None)
        return
    manifest = Manifest.read(run / MANIFEST)

    def require_unchanged() -> None:
        # A night that is repeated meanwhile replaces the whole folder.
        read = [name for name in manifest.outputs if name.endswith(".parquet")]
        try:
            changed = [name for name in read if file_sha256(run / name) != manifest.outputs[name]]
            changed += [MANIFEST] if Manifest.read(run / MANIFEST).run_id != manifest.run_id else []
        except (OSError, LapseError):
            changed = [run.name]
        if changed:
            raise PublishFailed(f"publish: {run}: {changed[0]} is not what its manifest says, or was replaced meanwhile. "
                                "Nothing was published. Publish again; if it stays so, score that day anew.")  # fmt: skip

    require_unchanged()
    yield Made(date.fromisoformat(manifest.as_of), run / SCORES, run / LISTS, known, require_unchanged)


def _day_of(path: Path, column: str) -> date:
    """Return the one day that a column of a file holds, without reading the others."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    return date.fromisoformat(str(pc.max(pq.read_table(path, columns=[column])[column]).as_py())[:10])
