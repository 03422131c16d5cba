import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaea import cells, geotokens
from gaea.errors import InputError

DESIGN_VECTORS = [
    ((48.8584, 2.2945), [2, 3, 15, 3, 3, 7, 15, 0, 15, 9, 11]),
    ((-33.8568, 151.2153), [3, 5, 8, 9, 5, 7, 3, 3, 4, 8, 3]),
    ((83.7249, -92.4194), [2, 8, 1, 0, 5, 11, 13, 4, 5, 3, 8]),
]
TOKENS = st.tuples(st.integers(0, 5), st.lists(st.integers(0, 15), max_size=10)).map(lambda t: (t[0], *t[1]))


@pytest.mark.parametrize(("place", "tokens"), DESIGN_VECTORS)
def test_vectors_of_the_design(place, tokens):
    assert geotokens.encode(*place).tolist() == tokens
    for length in range(1, 12):
        expected = int(cells.from_latlon(*place, level=2 * length - 2))
        assert geotokens.cell_of_prefix(tokens[:length]) == expected
        assert int(geotokens.decode(np.array(tokens[:length]))) == expected


@given(TOKENS)
@settings(deadline=None)
def test_prefixes_round_trip(tokens):
    cell = geotokens.cell_of_prefix(tokens)
    assert cells.is_valid(np.uint64(cell))
    assert int(cells.level(np.uint64(cell))) == 2 * (len(tokens) - 1)
    assert geotokens.encode_cells(np.uint64(cell)).tolist() == list(tokens)
    assert geotokens.from_text(f"so {geotokens.to_text(tokens)}, or so") == [tokens]


def test_arrays_keep_their_shape_and_pad_coarser_cells():
    tokens = geotokens.encode(np.zeros((2, 3)), 1.0)
    assert tokens.shape == (2, 3, 11)
    mixed = np.array([cells.from_latlon(48.8584, 2.2945, level) for level in (0, 4, 20)])
    padded = geotokens.encode_cells(mixed)
    assert padded.shape == (3, 11)
    assert padded[1].tolist() == [2, 3, 15] + [geotokens.PAD] * 8
    np.testing.assert_array_equal(geotokens.decode(padded), mixed)
    assert geotokens.to_text(padded[1]) == "<|geo|><|s2:f2|><|s2:3|><|s2:15|><|/geo|>"


def test_token_order_is_cell_order():
    rng = np.random.default_rng(0)
    tokens = np.column_stack([rng.integers(0, 6, 500), rng.integers(0, 16, (500, 10))])
    by_cell = tokens[np.argsort(geotokens.decode(tokens))]
    assert by_cell.tolist() == sorted(tokens.tolist())


@pytest.mark.parametrize("tokens", [[], [6], [0, 16], [-1], [0, -2], [0, -1, 3], [0] * 12, [[0.5]], 3], ids=str)
def test_unusable_tokens_are_refused(tokens):
    with pytest.raises(InputError):
        geotokens.decode(np.array(tokens) if tokens != [] else np.zeros((0,), np.int64))


def test_odd_and_too_fine_levels_have_no_tokens():
    for level in (1, 19, 21, 30):
        with pytest.raises(InputError, match=f"{level}"):
            geotokens.encode_cells(cells.from_latlon(0, 0, level))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<|geo|><|/geo|>",
        "<|geo|><|s2:f6|><|/geo|>",
        "<|geo|><|s2:3|><|/geo|>",
        "<|geo|><|s2:f1|><|s2:16|><|/geo|>",
        "<|geo|><|s2:f1|> <|s2:1|><|/geo|>",
        "<|geo|><|s2:f1|><|s2:01|><|/geo|>",
        "<|geo|><|s2:f1|><|s2:1|>",
        "<|geo|><|s2:f1|>" + "<|s2:1|>" * 11 + "<|/geo|>",
        "<|geo|><|s2:f1|><|s2:f1|><|/geo|>",
    ],
)
def test_malformed_text_holds_no_place(text):
    assert geotokens.from_text(text) == []


def test_several_places_are_found_in_order():
    text = geotokens.to_text([1, 2]) + " <|geo|><|s2:f9|><|/geo|> " + geotokens.to_text([3])
    assert geotokens.from_text(text) == [(1, 2), (3,)]


def test_the_alphabet():
    symbols = geotokens.all_symbols()
    assert len(set(symbols)) == len(symbols) == 24
    assert symbols[:6] == tuple(f"<|s2:f{i}|>" for i in range(6))
    assert symbols[6:22] == tuple(f"<|s2:{i}|>" for i in range(16))
    assert symbols[22:] == ("<|geo|>", "<|/geo|>")
    assert geotokens.VOCAB_SIZES == (6,) + (16,) * 10
