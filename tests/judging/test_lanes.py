import threading
import time

import pytest
import torch
from torch import nn

from bitproof.judging.lanes import in_lanes, lane_count


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_as_many_lanes_as_threads_and_full_batches(threads):
    model = nn.Linear(2, 2)
    threads(4)
    assert [lane_count(model, size) for size in (128, 64, 48, 16, 1)] == [4, 4, 3, 1, 1]
    threads(1)
    assert lane_count(model, 128) == 1
    threads(4)
    assert lane_count(nn.ReLU(), 128) == 1  # a session of a runtime has no parameters


@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_every_part_is_done_once_and_a_tool_by_one_thread_at_a_time(lanes, threads):
    threads(4)
    done, told, busy = [], [], []

    def work(tool, part, advance):
        assert tool not in busy
        busy.append(tool)
        assert torch.get_num_threads() == (4 // lanes if lanes > 1 else 4)
        time.sleep(0.001)
        done.append(part)
        advance(part)
        busy.remove(tool)

    in_lanes(work, [object() for _ in range(lanes)], range(20), told.append)
    assert sorted(done) == sorted(told) == list(range(20))
    assert torch.get_num_threads() == 4


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_breaks_the_others_off(error, threads):
    threads(2)
    begun = threading.Event()

    def work(tool, part, advance):
        if part == 0:
            begun.wait()
            raise error("broken")
        begun.set()
        while True:
            advance(1)
            time.sleep(0.001)

    with pytest.raises(error, match="broken"):
        in_lanes(work, ["a", "b"], range(5), lambda passes: None)
    assert torch.get_num_threads() == 2


def test_the_user_breaks_off(threads):
    threads(2)

    def work(tool, part, advance):
        while True:
            advance(1)
            time.sleep(0.001)

    def interrupt(passes):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_lanes(work, ["a", "b"], range(2), interrupt)
