import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gaea.errors import GalleryError, InputError
from gaea.rag.gallery import Gallery, GalleryMeta

META = GalleryMeta(encoder="tiny", fingerprint="a" * 64, dim=8, source="orbit", credit="NASA", licence="public domain")


def make_gallery(n=20, seed=0, **changes):
    rng = np.random.default_rng(seed)
    columns = {
        "embeddings": rng.normal(size=(n, 8)),
        "lat": rng.uniform(-90, 90, n),
        "lon": rng.uniform(-180, 180, n),
        "width_km": 120.0,
        "meta": META,
        "labels": {"text": [f"place {row % 3}" for row in range(n)]},
    }
    return Gallery.from_embeddings(**(columns | changes))


def test_write_and_read_give_the_same_rows(tmp_path):
    gallery = make_gallery(s2=np.arange(20, dtype=np.uint64) + 2**63)
    gallery.write(tmp_path / "sub" / "gallery.parquet")
    again = Gallery.read(tmp_path / "sub" / "gallery.parquet")
    assert again.meta == META
    assert np.array_equal(again.codes, gallery.codes)
    np.testing.assert_allclose(again.lat, gallery.lat, atol=1e-5)
    np.testing.assert_allclose(again.lon, gallery.lon, atol=1e-5)
    assert again.width_km.tolist() == [120.0] * 20
    assert again.labels["text"].tolist() == gallery.labels["text"].tolist()
    assert np.array_equal(again.s2, gallery.s2)
    assert again.content_hash == gallery.content_hash
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["gallery.parquet"]


@pytest.mark.parametrize(("dtype", "least_cosine"), [("int8", 0.999), ("float16", 0.999999)])
def test_quantised_rows_point_the_same_way(dtype, least_cosine):
    vectors = np.random.default_rng(1).normal(size=(500, 96)) * 3
    meta = GalleryMeta(encoder="tiny", fingerprint="a", dim=96)
    gallery = Gallery.from_embeddings(vectors, np.zeros(500), np.zeros(500), meta=meta, dtype=dtype)
    assert gallery.codes.dtype == dtype
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert ((gallery.embeddings * unit).sum(axis=1) > least_cosine).all()
    np.testing.assert_allclose(np.linalg.norm(gallery.embeddings, axis=1), 1, rtol=1e-5)


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float32, (3, 8), elements=st.floats(-1e3, 1e3, width=32)))
def test_quantisation_keeps_the_largest_component(vectors):
    vectors[:, 0] += 2e3
    codes = make_gallery(3, embeddings=vectors).codes
    assert (codes[:, 0] == 127).all()
    assert np.abs(codes.astype(int)).max() == 127


def test_float16_survives_parquet(tmp_path):
    gallery = make_gallery(dtype="float16")
    gallery.write(tmp_path / "g.parquet")
    assert np.array_equal(Gallery.read(tmp_path / "g.parquet").codes, gallery.codes)


def test_shards_of_a_folder_are_one_gallery(tmp_path):
    whole = make_gallery(30)
    for start in (0, 10, 20):
        part = slice(start, start + 10)
        Gallery(
            whole.codes[part], whole.lat[part], whole.lon[part], whole.width_km[part], META,
            labels={"text": whole.labels["text"][part]} if start else {},
        ).write(tmp_path / f"part-{start:03}.parquet")  # fmt: skip
    read = Gallery.read(tmp_path)
    assert len(read) == 30
    assert read.content_hash == whole.content_hash
    assert read.label("text", 3) == ""
    assert read.label("text", 13) == "place 1"


def test_labels_fall_back_to_the_gallery():
    gallery = make_gallery(labels={"credit": ["", "Ana", None] * 6 + ["", ""]})
    assert [gallery.label("credit", row) for row in (0, 1, 2)] == ["NASA", "Ana", "NASA"]
    assert gallery.label("source", 0) == "orbit"
    assert gallery.label("text", 0) == ""


def test_poles_and_the_antimeridian_are_places():
    assert len(make_gallery(4, lat=[90, -90, 0, 0], lon=[0, 0, 180, -180])) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lat": [0, 0, 90.5, 0]}, r"latitude outside -90..90 or missing in row 2 \(90.5\)"),
        ({"lat": [0, np.nan, 0, np.inf]}, r"latitude .* in row 1 \(nan\), 3 \(inf\)"),
        ({"lon": [0, 181, 0, -200]}, r"longitude outside -180..180 or missing in row 1 \(181\), 3 \(-200\)"),
        ({"lon": [0, 0]}, r"columns of other lengths: \{'lon': 2\}"),
        ({"labels": {"text": ["one"]}}, r"columns of other lengths: \{'text': 1\}"),
        ({"labels": {"mood": ["x"] * 4}}, r"unknown label columns \['mood'\]"),
        ({"embeddings": np.ones((4, 5))}, r"shape \(4, 5\), expected \(rows, 8\)"),
        ({"embeddings": np.array([[1.0] * 8] * 3 + [[0.0] * 8])}, "zero or not finite in row 3"),
        ({"embeddings": np.array([[1.0] * 8] * 3 + [[np.nan] * 8])}, "zero or not finite in row 3"),
        ({"embeddings": np.array([[1.0] * 8] * 3 + [[np.inf] * 8])}, "zero or not finite in row 3"),
    ],
)
def test_bad_rows_are_refused_by_number(changes, message):
    with pytest.raises(GalleryError, match=message):
        make_gallery(4, **changes)


def test_many_bad_rows_are_counted():
    with pytest.raises(GalleryError, match=r"and 15 more$"):
        make_gallery(lat=[100] * 20)


def test_bad_dtype():
    with pytest.raises(InputError, match="'int4' is not int8 or float16"):
        make_gallery(dtype="int4")


def test_missing_damaged_and_foreign_files(tmp_path):
    with pytest.raises(GalleryError, match="no gallery at"):
        Gallery.read(tmp_path / "absent.parquet")
    with pytest.raises(GalleryError, match="no gallery at"):
        Gallery.read(tmp_path)
    make_gallery().write(tmp_path / "good.parquet")
    whole = (tmp_path / "good.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(GalleryError, match=r"cut\.parquet is not a readable gallery"):
        Gallery.read(tmp_path / "cut.parquet")
    pq.write_table(pa.table({"lat": [1.0]}), tmp_path / "foreign.parquet")
    with pytest.raises(GalleryError, match=r"foreign\.parquet is not a readable gallery"):
        Gallery.read(tmp_path / "foreign.parquet")


def test_bad_rows_in_a_file_name_file_and_row(tmp_path):
    make_gallery().write(tmp_path / "g.parquet")
    table = pq.read_table(tmp_path / "g.parquet")
    lat = table["lat"].to_numpy().copy()
    lat[7] = 123
    pq.write_table(table.set_column(table.column_names.index("lat"), "lat", pa.array(lat)), tmp_path / "g.parquet")
    with pytest.raises(GalleryError, match=r"g.parquet: latitude .* in row 7 \(123\)"):
        Gallery.read(tmp_path / "g.parquet")


def test_shards_of_two_encoders_are_refused(tmp_path):
    make_gallery().write(tmp_path / "a.parquet")
    other = GalleryMeta(encoder="other", fingerprint="b" * 64, dim=8)
    make_gallery(meta=other).write(tmp_path / "b.parquet")
    with pytest.raises(GalleryError, match=r"b\.parquet belongs to encoder other"):
        Gallery.read(tmp_path)


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    make_gallery().write(tmp_path / "g.parquet")
    before = (tmp_path / "g.parquet").read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(GalleryError, match="cannot be written: No space left on device"):
        make_gallery(seed=9).write(tmp_path / "g.parquet")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("g.parquet", before)]


def test_another_encoder_is_refused():
    class Other:
        name, dim, fingerprint = "vit", 8, "c" * 64

    class Same:
        name, dim, fingerprint = "tiny again", 8, "a" * 64

    with pytest.raises(GalleryError, match=r"index belongs to encoder tiny \(a+, 8-d\), this is vit .*: rebuild"):
        make_gallery().check_encoder(Other())
    make_gallery().check_encoder(Same())


def test_row_numbers_survive_a_file_and_find_their_positions(tmp_path):
    made = make_gallery(numbers=np.arange(20) * 3 + 7, phash=np.arange(20, dtype=np.uint64) + np.uint64(2**63))
    made.write(tmp_path / "a.parquet")
    read = Gallery.read(tmp_path / "a.parquet")
    assert read.row_numbers.tolist() == [3 * i + 7 for i in range(20)]
    assert read.phash.tolist() == [2**63 + i for i in range(20)]
    assert read.positions([[64, 7], [10, 10]]).tolist() == [[19, 0], [1, 1]]
    assert read.content_hash == made.content_hash != make_gallery().content_hash


@pytest.mark.parametrize("number", [-1, 8, 65])
def test_a_number_that_no_row_has_is_refused(number):
    with pytest.raises(GalleryError, match=f"no row {number}: the vector store belongs to other rows"):
        make_gallery(numbers=np.arange(20) * 3 + 7).positions([7, number])


def test_row_numbers_must_ascend():
    with pytest.raises(GalleryError, match="do not ascend"):
        make_gallery(numbers=np.r_[np.arange(19), 3])
