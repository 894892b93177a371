"""What the exceptions of a rank tell of."""

from __future__ import annotations

import errno
from datetime import timedelta

import pytest
import torch

from warmscale.cluster.discovery import Rank
from warmscale.records import StateFolder, read_json, write_json
from warmscale.training import rank_main, ranks
from warmscale.training.audit import AuditError
from warmscale.training.rank_main import class_of
from warmscale.training.ranks import MeetingError, NodeError, choose_device
from warmscale.training.tree import DataError


@pytest.mark.parametrize(
    ("error", "failure_class"),
    [
        (AuditError("rate"), "audit"),
        (DataError("image"), "data"),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), "node"),
        (RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable"), "node"),
        (RuntimeError("No CUDA GPUs are available"), "node"),
        (OSError(errno.ESTALE, "Stale file handle"), "node"),
        (OSError(errno.EIO, "Input/output error"), "node"),
        (OSError(errno.ENOSPC, "No space left on device"), "unknown"),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "communication"),
        (RuntimeError("Socket Timeout"), "communication"),
        (RuntimeError("[gloo] Connection closed by peer"), "communication"),
        (RuntimeError("NCCL error in: ProcessGroupNCCL.cpp"), "communication"),
        (RuntimeError("CUDA error: device-side assert triggered"), "bug"),
        (ValueError("shape"), "bug"),
    ],
)
def test_only_what_our_own_code_does_is_a_bug(error, failure_class):
    assert class_of(error) == failure_class


def test_ranks_that_do_not_meet_are_a_failure_of_communication(tmp_path, monkeypatch):
    monkeypatch.setattr(ranks, "MEETING_TIMEOUT", timedelta(seconds=0.2))
    with pytest.raises(MeetingError) as raised:
        ranks._meet(Rank(1, 2, 1), tmp_path / "meeting.json")
    assert class_of(raised.value) == "communication"


def test_ranks_can_meet_while_the_first_one_copies_the_data(tmp_path, monkeypatch):
    state, found = StateFolder(tmp_path), []

    def slow_copy(root, stopping):
        found.append(read_json(state.meeting(1)))
        raise DataError("seen")

    monkeypatch.setattr(rank_main, "node_copy", slow_copy)
    write_json(state.content, {})
    place = {"attempt": 1, "state": state, "lease": None, "index": tmp_path / "index.tsv", "root": tmp_path}
    assert rank_main.train_rank("run", {"device": "cpu"}, None, rank=Rank(0, 2, 0), **place) == 1
    assert found[0]["port"]
    assert read_json(state.failure)["failure"] == "seen"


def test_a_node_whose_gpus_have_vanished_is_not_trained_on(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(NodeError, match="shows no GPU"):
        choose_device("cuda", Rank(0, 1, 0))
    assert choose_device("auto", Rank(0, 1, 0)) == torch.device("cpu")
