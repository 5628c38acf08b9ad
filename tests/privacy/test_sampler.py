"""The sampler of noise: its distribution, its two implementations, its refusals, and no float.

Keys are fixed here so that a test of a distribution cannot fail by chance: what passes once passes
always. Bounds are those of five standard errors, which a wrong sampler leaves at a million draws.
"""

import ast
import math
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fraudfed.dtypes import Float64Array, Int64Array
from fraudfed.errors import BoundError, KeyMaterialError
from fraudfed.machine.native import load_native
from fraudfed.privacy.noise import reference, sampler
from fraudfed.privacy.noise.keystream import Keystream
from fraudfed.privacy.noise.sampler import sample

NATIVE = load_native("fraudfed.privacy.noise._sampler")
compiled = pytest.mark.skipif(NATIVE.module is None, reason=NATIVE.reason or "it is there")
# Of the checkout: an installation has no C files.
FOLDER = Path(__file__).parents[2] / "fraudfed" / "privacy" / "noise"
LARGEST = reference.MAXIMUM_VARIANCE
#: A million where the compiled sampler is there.
DRAWS = 1_000_000 if NATIVE.module is not None else 20_000
STANDARD_ERRORS = 5
#: Of a distribution test with a fixed key.
LEAST_P = 1e-4
VARIANCES = (1, 2, 3, 7, 10, 1000, 1 << 16, (1 << 41) + 5, LARGEST)
variances_of_all_sizes = st.integers(1, 20) | st.integers(1, 1 << 20) | st.integers(1, LARGEST)
keys = st.binary(min_size=32, max_size=32)


class StreamEndError(Exception):
    """A reader has no byte left."""


def reader(stream: bytes) -> Callable[[], int]:
    """Return what gives byte after byte."""
    left = iter(stream)

    def next_byte() -> int:
        byte = next(left, None)
        if byte is None:
            raise StreamEndError
        return byte

    return next_byte


def drawn(variance: int, name: int) -> Int64Array:
    """Return a fixed sample; ``name`` tells samples of one variance apart."""
    key = variance.to_bytes(16, "big") + name.to_bytes(16, "big")
    return sample(np.full(DRAWS, variance, dtype=np.int64), key)


def probabilities(variance: int) -> tuple[Int64Array, Float64Array]:
    """Return every value within 12 sigma and its probability: the exact sums of the definition."""
    reach = 12 * math.isqrt(variance) + 12
    values = np.arange(-reach, reach + 1)
    weights = np.array([math.exp(-(y * y) / (2 * variance)) for y in values.tolist()])
    return values, weights / math.fsum(weights)


def moment(variance: int, order: int) -> float:
    """Return E y^order in units of sigma^order."""
    if variance > 1 << 16:  # the difference to the continuous one is below exp(-2 pi^2 2^16)
        return float(math.prod(range(1, order, 2)))
    values, weights = probabilities(variance)
    scaled = values / math.sqrt(variance)
    return math.fsum(scaled**order * weights)


@pytest.mark.parametrize("variance", VARIANCES)
def test_moments_are_those_of_the_definition(variance: int) -> None:
    scaled = drawn(variance, 1) / math.sqrt(variance)
    for order in (1, 2, 3, 4):
        expected = 0.0 if order % 2 else moment(variance, order)
        spread = moment(variance, 2 * order) - expected**2
        bound = STANDARD_ERRORS * math.sqrt(spread / DRAWS)
        assert abs(float((scaled**order).mean()) - expected) < bound, order


@pytest.mark.parametrize("variance", [v for v in VARIANCES if v <= 1 << 16])
def test_a_million_draws_have_the_probabilities_of_the_definition(variance: int) -> None:
    values, weights = probabilities(variance)
    expected = weights * DRAWS
    # Cells from the left, each closed as soon as 50 draws are expected in it; the last holds all
    # that is left.
    cells, filled = [0], 0.0
    left = expected[::-1].cumsum()[::-1]
    for place, weight in enumerate(expected[:-1]):
        filled += weight
        if filled >= 50 and left[place + 1] >= 50:
            cells.append(place + 1)
            filled = 0.0
    counts = np.bincount(drawn(variance, 2) - values[0], minlength=len(values))
    found = stats.chisquare(np.add.reduceat(counts, cells), np.add.reduceat(expected, cells))
    assert found.pvalue > LEAST_P


@pytest.mark.parametrize("variance", [v for v in VARIANCES if v > 1 << 16])
def test_a_million_wide_draws_fall_evenly_between_quantiles(variance: int) -> None:
    draws = drawn(variance, 3)
    # The distribution function at y + 1/2 is the normal one, but for 1 / 24 variance.
    ranks = stats.norm.cdf((draws + 0.5) / math.sqrt(variance))
    counts = np.bincount((ranks * 1000).astype(np.int64), minlength=1000)
    assert stats.chisquare(counts).pvalue > LEAST_P


@pytest.mark.parametrize("variance", [v for v in VARIANCES if v >= 1 << 16])
@pytest.mark.parametrize("modulus", [2, 3, 256])
def test_the_last_digits_of_wide_noise_are_uniform(variance: int, modulus: int) -> None:
    counts = np.bincount(drawn(variance, 4) % modulus, minlength=modulus)
    assert stats.chisquare(counts).pvalue > LEAST_P


def test_draws_of_one_key_do_not_depend_on_each_other() -> None:
    scaled = drawn(1 << 20, 5) / 1024
    for lag in (1, 2, 3):
        correlation = float((scaled[lag:] * scaled[:-lag]).mean())
        assert abs(correlation) < STANDARD_ERRORS / math.sqrt(DRAWS)


def test_control_rounded_decisions_fail_the_distribution_test(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A sampler that compares two bits and no more is told apart, so the tests above can fail."""

    def rounded(numerator: int, denominator: int, next_byte: Callable[[], int]) -> bool:
        return (next_byte() >> 6) * denominator < numerator * 4

    monkeypatch.setattr(sampler, "_NATIVE", None)
    monkeypatch.setattr(reference, "bernoulli", rounded)
    scaled = sample(np.full(20_000, 1000), bytes(32)) / math.sqrt(1000)
    bound = STANDARD_ERRORS * math.sqrt(2 / 20_000)
    assert abs(float((scaled**2).mean()) - 1) > bound


@pytest.mark.parametrize("variance", [16, 1 << 40])
def test_opendp_draws_the_same_distribution(variance: int) -> None:
    """OpenDP has its own implementation of the algorithms; it takes its randomness from the system.

    So this one could fail by chance, with a probability of 10^-9.
    """
    dp = pytest.importorskip("opendp.prelude")
    dp.enable_features("contrib")
    n_draws = 50_000
    vectors = dp.vector_domain(dp.atom_domain(T=int)), dp.l2_distance(T=int)
    theirs = np.array(dp.m.make_gaussian(*vectors, scale=math.sqrt(variance))([0] * n_draws))
    ours = drawn(variance, 6)[:n_draws]
    edges = np.unique(np.quantile(np.concatenate([ours, theirs]), np.linspace(0, 1, 30)[1:-1]))
    counts = [np.bincount(np.searchsorted(edges, side), minlength=30) for side in (ours, theirs)]
    table = np.array(counts)
    table = table[:, table.sum(axis=0) > 20]
    assert stats.chi2_contingency(table).pvalue > 1e-9


@given(denominator=st.integers(1, 300), data=st.data())
def test_a_fraction_is_decided_with_exactly_its_probability(
    denominator: int, data: st.DataObject
) -> None:
    """All streams of two bytes: their share that says yes, and that is undecided, frame it."""
    numerator = data.draw(st.integers(0, denominator))
    yes, undecided = 0, 0
    for first in range(256):
        try:
            yes += 256 * reference.bernoulli(numerator, denominator, reader(bytes([first])))
            continue
        except StreamEndError:
            pass
        for second in range(256):
            try:
                yes += reference.bernoulli(numerator, denominator, reader(bytes([first, second])))
            except StreamEndError:
                undecided += 1
    exact = Fraction(numerator, denominator)
    assert undecided <= 1
    assert Fraction(yes, 1 << 16) <= exact <= Fraction(yes + undecided, 1 << 16)


@given(limit=st.integers(2, 256))
def test_each_number_below_a_limit_comes_from_equally_many_bytes(limit: int) -> None:
    counts = dict.fromkeys(range(limit), 0)
    for byte in range(256):
        with suppress(StreamEndError):
            counts[reference.below(limit, reader(bytes([byte])))] += 1
    assert len(counts) == limit
    assert len(set(counts.values())) == 1


@pytest.mark.parametrize(("f", "g"), [((1, 1), (1, 1)), ((1, 3), (2, 5)), ((9, 10), (1, 1))])
def test_an_exponential_is_decided_with_its_probability(
    f: tuple[int, int], g: tuple[int, int]
) -> None:
    """By the sum over algorithm 1's ways to end: sum over odd k of p^(k-1)/(k-1)! - p^k/k!."""
    p = Fraction(*f) * Fraction(*g)
    stream = Keystream(bytes(range(32)))
    n_draws = 100_000
    hits = sum(reference.exp_bernoulli(*f, *g, lambda: stream.take(1)[0]) for _ in range(n_draws))
    exact = math.exp(-p)
    assert abs(hits / n_draws - exact) < STANDARD_ERRORS * math.sqrt(exact * (1 - exact) / n_draws)


# --- compiled and in Python ---------------------------------------------------------------------


def in_python(variances: Int64Array, key: bytes) -> Int64Array:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampler, "_NATIVE", None)
        return sample(variances, key)


@compiled
@settings(deadline=None)
@given(chosen=st.lists(variances_of_all_sizes, max_size=60), key=keys)
def test_compiled_and_python_draw_the_same(chosen: list[int], key: bytes) -> None:
    variances = np.array(chosen, dtype=np.int64)
    assert np.array_equal(sample(variances, key), in_python(variances, key))


@compiled
@pytest.mark.parametrize("chunk", [1, 2, 7, 64, 1 << 12])
def test_compiled_draws_do_not_depend_on_how_the_stream_is_cut(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    variances = np.array([1, LARGEST, 1 << 20, 5] * 250, dtype=np.int64)
    whole = sample(variances, bytes(32))
    monkeypatch.setattr(sampler, "_LEAST_CHUNK", chunk)
    monkeypatch.setattr(sampler, "_LARGEST_CHUNK", chunk)
    assert np.array_equal(sample(variances, bytes(32)), whole)


@compiled
@settings(deadline=None)
@given(stream=st.binary(max_size=200), variance=variances_of_all_sizes)
def test_compiled_and_python_read_any_bytes_alike(stream: bytes, variance: int) -> None:
    """Also such that are not random, and where the stream ends within a draw."""
    assert NATIVE.module is not None
    variances, noise = np.full(20, variance), np.zeros(20, dtype=np.int64)
    n_drawn, used, random = NATIVE.module.gaussians(variances, noise, stream, 1 << 16)
    assert random
    expected = list(islice(_until_it_ends(variance, reader(stream)), 20))
    assert noise[:n_drawn].tolist() == expected
    # What was used is what these draws took, and not a byte more.
    again = reader(stream[:used])
    assert [reference.gaussian(variance, again) for _ in range(n_drawn)] == expected
    with pytest.raises(StreamEndError):
        again()


def _until_it_ends(variance: int, next_byte: Callable[[], int]) -> Iterator[int]:
    with suppress(StreamEndError):
        while True:
            yield reference.gaussian(variance, next_byte)


@compiled
@pytest.mark.parametrize("byte", [0, 1, 127, 128, 255])
def test_bytes_that_are_all_alike_end(byte: int) -> None:
    assert NATIVE.module is not None
    noise = np.zeros(4, dtype=np.int64)
    n_drawn, used, _ = NATIVE.module.gaussians(
        np.full(4, 1 << 30), noise, bytes([byte]) * 5000, 1 << 16
    )
    assert 0 <= n_drawn <= 4
    assert 0 <= used <= 5000


#: Decide exp(-1): 1/2 holds and 1/3 does not; 1/2 does not hold.
YES, NO = bytes([0, 255]), bytes([255])


def test_a_stream_that_takes_a_draw_too_far_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Crafted:
        def __init__(self, key: bytes) -> None:
            # `rest` is 0, and exp(0) takes no byte.
            self._at = iter(bytes([0]) + YES * ((1 << 16) + 8))

        def take(self, n_bytes: int) -> bytes:
            return bytes(islice(self._at, n_bytes))

    monkeypatch.setattr(sampler, "Keystream", Crafted)
    monkeypatch.setattr(sampler, "_LEAST_CHUNK", sampler._LARGEST_CHUNK)
    for module in (NATIVE.module, None):
        monkeypatch.setattr(sampler, "_NATIVE", module)
        with pytest.raises(BoundError, match="its bytes are not random"):
            sample(np.array([1]), bytes(32))


@compiled
@pytest.mark.parametrize("steps", [0, 1, 3, 4, 5, 20, 100])
@pytest.mark.parametrize("variance", [LARGEST, LARGEST - 1, 1 << 61, 3])
def test_a_draw_far_out_is_computed_without_overflow(steps: int, variance: int) -> None:
    """Bytes that lead to ``steps`` whole scales, and accept them."""
    assert NATIVE.module is not None
    scale = math.isqrt(variance) + 1
    n_bytes = ((scale - 1).bit_length() + 7) // 8
    distance = abs(steps * scale * scale - variance)
    whole = (distance // (scale * scale)) * (distance // (2 * variance))
    stream = bytes(n_bytes) + YES * steps + NO + bytes([0]) + YES * whole + bytes([255]) * 5000
    noise = np.zeros(1, dtype=np.int64)
    n_drawn, _, random = NATIVE.module.gaussians(np.array([variance]), noise, stream, 1 << 16)
    assert (n_drawn, random) == (1, True)
    assert noise[0] == reference.gaussian(variance, reader(stream))
    if variance > 3:
        assert noise[0] == steps * scale


# --- laws of the call -----------------------------------------------------------------------------


@given(chosen=st.lists(variances_of_all_sizes, min_size=1, max_size=30), key=keys, data=st.data())
def test_the_first_draws_do_not_depend_on_what_follows(
    chosen: list[int], key: bytes, data: st.DataObject
) -> None:
    variances = np.array(chosen, dtype=np.int64)
    first = data.draw(st.integers(0, len(chosen)))
    assert np.array_equal(sample(variances[:first], key), sample(variances, key)[:first])


def test_draws_have_the_shape_of_the_variances_and_follow_the_key() -> None:
    variances = np.full((3, 1, 5), 1 << 30)
    first, again = sample(variances, bytes(32)), sample(variances, bytes(32))
    assert first.shape == variances.shape
    assert first.dtype == np.int64
    assert np.array_equal(first, again)
    assert not np.array_equal(first, sample(variances, bytes(31) + b"\x01"))
    assert np.array_equal(sample(np.broadcast_to(np.int64(1 << 30), (3, 1, 5)), bytes(32)), first)
    assert np.array_equal(sample(variances.T, bytes(32)).reshape(-1), first.reshape(-1))
    assert sample(np.zeros(0, dtype=np.int64), bytes(32)).shape == (0,)


@pytest.mark.parametrize("variance", [0, -1, LARGEST + 1, -(2**63), 2**63 - 1])
def test_a_variance_out_of_its_range_is_refused(variance: int) -> None:
    for module in (NATIVE.module, None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sampler, "_NATIVE", module)
            with pytest.raises(BoundError, match=rf"is {variance}, expected 1 .. {LARGEST}"):
                sample(np.array([5, variance, 5]), bytes(32))


@pytest.mark.parametrize("dtype", [np.int32, np.uint64, np.float64])
def test_variances_of_another_type_are_refused(dtype: type) -> None:
    with pytest.raises(BoundError, match="expected int64"):
        sample(np.ones(3, dtype=dtype), bytes(32))  # type: ignore[arg-type]


@pytest.mark.parametrize("length", [0, 16, 31, 33, 64])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(KeyMaterialError, match=f"has {length} bytes, expected 32"):
        sample(np.array([5]), bytes(length))


def test_a_stream_that_is_used_up_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fraudfed.privacy.noise.keystream._MAXIMUM_BYTES", 1000)
    with pytest.raises(BoundError, match="draw noise for fewer values at once"):
        sample(np.full(1000, 1 << 30), bytes(32))


@compiled
@pytest.mark.parametrize(
    ("variances", "places", "most_steps"),
    [
        (np.array([0]), 1, 8),
        (np.array([LARGEST + 1]), 1, 8),
        (np.array([-1]), 1, 8),
        (np.array([4]), 2, 8),
        (np.array([4, 4]), 1, 8),
        (np.array([4], dtype=np.int32), 1, 8),
        (np.array([4]), 1, -1),
        (np.array([4]), 1, (1 << 16) + 1),
    ],
)
def test_compiled_refuses_what_python_would_not_hand_it(
    variances: Int64Array, places: int, most_steps: int
) -> None:
    assert NATIVE.module is not None
    with pytest.raises(ValueError, match="variances are no int64"):
        NATIVE.module.gaussians(variances, np.zeros(places, np.int64), bytes(99), most_steps)


# --- no float -----------------------------------------------------------------------------------


def floats_in_c(source: str) -> list[str]:
    """Return what is, or could be, floating point in C, comments and texts left out."""
    code = re.sub(r"/\*.*?\*/|//[^\n]*|\"(\\.|[^\"])*\"", " ", source, flags=re.DOTALL)
    return re.findall(
        r"\b(?:float|double|_Float\w*|__float128|\w*math\.h|sqrt\w*|exp[fl]?|log\w*|pow\w*|floor\w*"
        r"|ceil\w*|round\w*)\b|\b\d+\.\d*|\.\d+\b|\b\d+[eE][-+]?\d+\b",
        code,
    )


def floats_in_python(source: str) -> list[str]:
    """Return what is, or could be, floating point in Python."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Div():
                found.append("/")
            case ast.Constant(value=float() | complex() as value):
                found.append(repr(value))
            case ast.Name(id="float" | "round" | "complex" as name):
                found.append(name)
            case ast.Attribute(value=ast.Name(id="math"), attr=attr) if attr != "isqrt":
                found.append(f"math.{attr}")
            case ast.Attribute(attr=attr) if re.match(
                r"float|double|sqrt|exp|log|mean|true_div", attr
            ):
                found.append(attr)
            case ast.ImportFrom(module="math") | ast.Pow():
                found.append("from math, or a power")
    return found


def test_no_float_is_on_the_way_of_noise() -> None:
    sources = {
        path.name: path.read_text() for path in FOLDER.iterdir() if path.suffix in (".c", ".py")
    }
    assert {"_sampler.c", "reference.py", "sampler.py", "drawing.py"} <= sources.keys()
    for name, source in sources.items():
        scan = floats_in_c if name.endswith(".c") else floats_in_python
        assert scan(source) == [], name


def test_control_a_planted_float_is_found() -> None:
    c, python = (FOLDER / "_sampler.c").read_text(), (FOLDER / "reference.py").read_text()
    for planted in (
        "double x = 1;",
        "int y = (int)(3 * 0.5);",
        "#include <math.h>",
        "x = sqrt(y);",
    ):
        assert floats_in_c(f"{c}\n{planted}")
    for planted in ("x = 1 / 2", "x = 0.5", "x = math.sqrt(2)", "x = float(3)", "x = 2 ** -1"):
        assert floats_in_python(f"{python}\n{planted}")
