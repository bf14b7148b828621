import numpy as np

from crosscal.core.random import generator, integer_seed, point_seeds


def test_a_point_has_its_seed_wherever_it_is_asked_for():
    whole = point_seeds(7, np.arange(100)[:, None], np.arange(5))
    assert whole.shape == (100, 5)
    np.testing.assert_array_equal(point_seeds(7, [42], [3])[0], whole[42, 3])


def test_seeds_do_not_collide():
    seeds = point_seeds(1, np.arange(1000)[:, None], np.arange(100))
    # 1e5 draws of 64 bits collide with probability 3e-10.
    assert len(np.unique(seeds)) == seeds.size
    assert not np.intersect1d(seeds, point_seeds(2, np.arange(1000)[:, None], np.arange(100))).size


def test_bits_of_seeds_are_balanced():
    seeds = point_seeds(3, np.arange(20000))
    ones = np.array([np.mean((seeds >> np.uint64(b)) & np.uint64(1)) for b in range(64)])
    # Each bit is a coin thrown 20000 times: sd 0.0035; 5 sd for 64 bits.
    assert np.all(np.abs(ones - 0.5) < 5 * 0.0035)


def test_named_streams_differ_and_repeat():
    first = generator(1, "a", 2).random(4)
    np.testing.assert_array_equal(first, generator(1, "a", 2).random(4))
    assert not np.allclose(first, generator(1, "a", 3).random(4))
    assert integer_seed(1, "x") == integer_seed(1, "x") != integer_seed(2, "x")
