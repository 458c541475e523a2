"""Digests of pictures."""

import numpy as np
import torch

from bitproof.pictures.pixels import digests


def test_digests_are_of_values_and_do_not_depend_on_the_batch():
    images = torch.rand(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    images[0, 0, 0, 0], images[1] = 0.0, images[2]
    found = digests(images)
    assert found.dtype == np.uint64 and len(set(found.tolist())) == 4 and found[1] == found[2]
    np.testing.assert_array_equal(np.concatenate([digests(images[:2]), digests(images[2:])]), found)
    np.testing.assert_array_equal(digests(images.to(memory_format=torch.channels_last)), found)
    images[0, 0, 0, 0] = -0.0
    assert digests(images)[0] == found[0]
    images[4, 2, 3, 3] += 2**-20
    assert digests(images)[4] != found[4]
