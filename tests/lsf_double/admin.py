"""badmin, lsclusters and bhist, as far as they are asked anything."""

from __future__ import annotations

from .events import configuration
from .store import LsfError, Store


def badmin(store: Store, words: list[str]) -> int:
    """Only `badmin showconf mbd`."""
    if words != ["showconf", "mbd"]:
        raise LsfError("badmin: Illegal command. Operation denied by LSF")
    print(configuration(store), end="")
    return 0


def lsclusters(store: Store, words: list[str]) -> int:
    """One cluster, with or without -w."""
    settings = store.settings
    count = len(settings.hosts)
    print("CLUSTER_NAME     STATUS   MASTER_HOST               ADMIN    HOSTS  SERVERS")
    print(f"{settings.cluster:<16} ok       {settings.hosts[0]:<25} lsfadmin {count:>5} {count:>8}")
    return 0


def bhist(store: Store, words: list[str]) -> int:
    """Remembers nothing."""
    return 0
