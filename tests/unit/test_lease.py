import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from warmscale import lease
from warmscale.lease import LeaseHeldError, acquire, holder_of, is_current

HOLD = """
import sys, time
from pathlib import Path
from warmscale.lease import acquire
acquire(Path(sys.argv[1]), {"job_id": "7"}, beat_sec=0.05)
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def elsewhere(monkeypatch):
    """Lets process ids of this host say nothing, as those of another host would."""
    monkeypatch.setattr(lease, "_process_space", lambda: "another host")


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lease of tmp_path."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_free_lease_is_taken_and_given_back(tmp_path):
    with acquire(tmp_path / "lease", {}) as held:
        assert is_current(held.path)
    assert holder_of(tmp_path / "lease") is None
    with acquire(tmp_path / "lease", {}) as held:
        assert is_current(held.path)


def test_the_holder_is_named(tmp_path, holder):
    with pytest.raises(LeaseHeldError) as refused:
        acquire(tmp_path, {})
    assert refused.value.holder["pid"] == holder.pid
    assert refused.value.holder["job_id"] == "7"
    assert holder_of(tmp_path)["pid"] == holder.pid


def test_a_dead_holder_on_this_host_is_replaced_at_once(tmp_path, holder):
    holder.kill()
    holder.wait()
    started = time.monotonic()
    with acquire(tmp_path, {}, patience_sec=30):
        assert time.monotonic() - started < 5


def test_a_zombie_is_dead(tmp_path, holder):
    holder.kill()
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
    with acquire(tmp_path, {}, patience_sec=30):
        pass


def test_a_process_id_that_is_another_process_by_now_is_dead(tmp_path, holder):
    path = max(tmp_path.glob("*.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"process_start": "1"}))
    with acquire(tmp_path, {}):
        pass


def test_a_heartbeat_from_another_host_is_a_live_holder(tmp_path, holder, elsewhere):
    with pytest.raises(LeaseHeldError):
        acquire(tmp_path, {}, patience_sec=10)


def test_a_holder_elsewhere_whose_heartbeat_stands_still_is_replaced(tmp_path, holder, elsewhere):
    holder.kill()
    holder.wait()
    started = time.monotonic()
    with acquire(tmp_path, {}, patience_sec=0.6) as held:
        assert time.monotonic() - started > 0.5
        assert held.path.name == "000002.json"
        assert [path.name for path in tmp_path.glob("*.json")] == ["000002.json"]


def test_a_heartbeat_that_is_very_old_needs_no_watching(tmp_path, holder, elsewhere):
    holder.kill()
    holder.wait()
    long_ago = time.time() - 3600
    os.utime(max(tmp_path.glob("*.json")), (long_ago, long_ago))
    started = time.monotonic()
    with acquire(tmp_path, {}, patience_sec=30):
        assert time.monotonic() - started < 5


def test_a_claim_without_text_is_watched_like_any_other(tmp_path):
    (tmp_path / "000004.json").touch()
    with acquire(tmp_path, {}, patience_sec=0.2) as held:
        assert held.path.name == "000005.json"


NOBODY = 65_534


@pytest.fixture
def hidden(monkeypatch):
    """A folder of anybody's with the claim of a user's process, seen by another user whom the system tells nothing."""
    if os.geteuid():
        pytest.skip("only root may be two other users")
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    process = subprocess.Popen(["sleep", "60"], user=NOBODY - 1)
    about = {"pid": process.pid, "process_start": lease._start_of(process.pid)}
    claim = about | {"process_space": lease._process_space(), "folder": lease._identity(folder)}
    monkeypatch.setattr(lease, "PROC", folder)  # as with hidepid
    os.seteuid(NOBODY)
    (folder / "000001.json").write_text(json.dumps(claim))
    yield folder, process
    os.seteuid(0)
    process.kill()
    process.wait()
    shutil.rmtree(folder)


def test_a_process_of_another_user_that_is_hidden_lives_while_its_heart_beats(hidden):
    folder, process = hidden
    with pytest.raises(PermissionError):
        os.kill(process.pid, 0)
    ended = threading.Event()

    def beat():
        while not ended.wait(0.05):
            os.utime(folder / "000001.json")

    heart = threading.Thread(target=beat)
    heart.start()
    with pytest.raises(LeaseHeldError):
        acquire(folder, {}, patience_sec=10)
    ended.set()
    heart.join()
    with acquire(folder, {}, patience_sec=0.6) as held:
        assert held.path.name == "000002.json"


def test_a_process_of_another_user_that_is_gone_is_dead_at_once(hidden):
    folder, process = hidden
    os.seteuid(0)
    process.kill()
    process.wait()
    os.seteuid(NOBODY)
    started = time.monotonic()
    with acquire(folder, {}, patience_sec=30):
        assert time.monotonic() - started < 5


def test_one_of_many_takes_over_a_dead_lease(tmp_path, elsewhere):
    (tmp_path / "000001.json").write_text("{}")
    start, outcomes, leases = threading.Barrier(12), [], []

    def challenge():
        start.wait()
        try:
            leases.append(acquire(tmp_path, {}, patience_sec=0.3, beat_sec=0.02))
        except LeaseHeldError:
            outcomes.append("held")

    threads = [threading.Thread(target=challenge) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (len(leases), len(outcomes)) == (1, 11)
    leases[0].release()


def test_a_holder_that_was_taken_over_holds_no_longer(tmp_path):
    with acquire(tmp_path, {}, beat_sec=0.02) as held:
        (tmp_path / "000002.json").write_text("{}")
        assert not is_current(held.path)
    assert is_current(tmp_path / "000002.json")


def test_a_lost_lease_that_is_given_back_leaves_the_next_ones_alone(tmp_path):
    lost = acquire(tmp_path, {})
    lost.path.unlink()  # by one who took over, and let go
    (tmp_path / "000002.free").touch()
    with acquire(tmp_path, {}) as third:
        lost.release()
        assert is_current(third.path)


def test_a_number_is_never_used_twice(tmp_path):
    """Else a holder that was taken over, and forgotten by all, would find its own number again."""
    numbers = []
    for _ in range(3):
        with acquire(tmp_path, {}) as held:
            numbers.append(held.path.name)
    assert numbers == ["000001.json", "000002.json", "000003.json"]


def test_one_who_waits_for_a_holder_does_not_take_a_newcomers_lease(tmp_path, monkeypatch):
    """The holder lets go while one waits, and a second one comes between its look and its create."""
    first, create, newcomer = acquire(tmp_path, {}), lease._create, []

    def slow_create(path, holder):
        if not newcomer:
            newcomer.append(None)
            newcomer[0] = acquire(tmp_path, {})
        return create(path, holder)

    first.release()
    monkeypatch.setattr(lease, "_create", slow_create)
    with pytest.raises(LeaseHeldError):
        acquire(tmp_path, {})
    assert is_current(newcomer[0].path)
    newcomer[0].release()


def test_the_lease_of_a_copied_folder_is_nobodys(tmp_path):
    with acquire(tmp_path / "original", {}):
        shutil.copytree(tmp_path / "original", tmp_path / "copy")
        with acquire(tmp_path / "copy", {}) as held:
            assert is_current(held.path)
