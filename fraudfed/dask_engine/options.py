"""Which cluster a command is to use: what its options say, checked before anything is opened."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fraudfed.dask_engine.addresses import check_dashboard, check_scheduler, is_encrypted
from fraudfed.errors import ConfigurationError

#: More processes than this on one machine are a mistake in typing.
MOST_WORKERS: Final = 1024
DEFAULT_WAIT_SECONDS: Final = 60.0
#: A free port, for this machine only.
DEFAULT_DASHBOARD: Final = "127.0.0.1:0"


@dataclass(frozen=True)
class TlsFiles:
    """What both sides of a connection prove themselves by.

    Attributes
    ----------
    ca, cert, key : Path
        PEM files: who signs certificates, this program's certificate, and its private key.
    """

    ca: Path
    cert: Path
    key: Path

    @classmethod
    def parse(cls, text: str) -> "TlsFiles":
        """Read ``CA,CERT,KEY``.

        Raises
        ------
        ConfigurationError
            If it is not three files.
        """
        names = text.split(",")
        if len(names) != 3 or not all(names):
            raise ConfigurationError(
                f"--dask-tls is {text!r}, expected three files with commas between: the CA's "
                "certificate, this program's certificate, its key"
            )
        files = cls(*map(Path, names))
        for path in (files.ca, files.cert, files.key):
            if not path.is_file():
                raise ConfigurationError(f"--dask-tls: there is no file {path}; correct its name")
        return files


@dataclass(frozen=True)
class ClusterOptions:
    """A cluster of this machine's processes, or one that runs elsewhere.

    Attributes
    ----------
    scheduler : str or None
        Address of a cluster's scheduler. None: a cluster of processes on this machine.
    workers : int or None
        Without a scheduler: number of processes. With one: workers to wait for; None is 1.
    memory_limit : int or None
        Bytes of each worker process on this machine; None shares the machine's memory out.
    dashboard : str or None
        ``HOST:PORT`` of the dashboard of a cluster on this machine; None is no dashboard.
    tls : TlsFiles or None
        None: what Dask's own configuration says.
    insecure : bool
        Whether rows may travel over a network in the clear.
    wait_seconds : float
        How long to wait for the scheduler and for workers.
    """

    scheduler: str | None = None
    workers: int | None = None
    memory_limit: int | None = None
    dashboard: str | None = DEFAULT_DASHBOARD
    tls: TlsFiles | None = None
    insecure: bool = False
    wait_seconds: float = DEFAULT_WAIT_SECONDS

    def check(self) -> None:
        """Check that the options fit together, and that no row would travel in the clear.

        Raises
        ------
        ConfigurationError
        """
        if self.scheduler is None and self.workers is None:
            raise ConfigurationError(
                "--engine dask needs --scheduler ADDRESS of a cluster, or --workers N for one of "
                "processes on this machine"
            )
        if self.workers is not None and not 1 <= self.workers <= MOST_WORKERS:
            raise ConfigurationError(
                f"--workers is {self.workers}, expected 1 to {MOST_WORKERS} processes"
            )
        if self.scheduler is not None:
            if self.memory_limit is not None:
                raise ConfigurationError(
                    "--worker-memory is for a cluster on this machine; the workers of a scheduler "
                    "were given theirs when they were started, leave it out"
                )
            check_scheduler(self.scheduler, insecure=self.insecure)
            if self.tls is not None and not is_encrypted(self.scheduler):
                raise ConfigurationError(
                    f"--dask-tls is given, and --scheduler is {self.scheduler}, which is without "
                    "TLS; write tls://..., or leave --dask-tls out"
                )
        elif self.tls is not None:
            raise ConfigurationError(
                "--dask-tls is for a scheduler elsewhere; a cluster on this machine makes keys of "
                "its own, leave it out"
            )
        if self.dashboard is not None and self.scheduler is None:
            check_dashboard(self.dashboard, insecure=self.insecure)

    @property
    def least_workers(self) -> int:
        """Workers without which nothing begins."""
        return 1 if self.workers is None else self.workers
