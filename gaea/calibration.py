"""What validation places taught about trust: temperatures, pooling weights, region sizes and when to abstain.

One JSON file beside the gallery it was fitted on. :mod:`gaea.finetune.calibrate` writes the shipped one, from
validation places only; :mod:`gaea.rag.calibrate` one for an index of the user's own.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gaea.conformal import Promise, Risk
from gaea.errors import GalleryError
from gaea.fusion import Pool
from gaea.locate.neighbours import NeighbourConfig
from gaea.locate.surroundings import SurroundingsConfig

CALIBRATION_FILE = "calibration.json"


@dataclasses.dataclass(frozen=True)
class Calibration:
    """How far each source is trusted.

    Attributes:
        neighbours: Kernel density of the retrieved neighbours.
        token_temperature: Divides the log-probabilities of S2 symbols.
        weights: Exponents of (neighbours, tokens) in the log-linear pool.
        temperature: Of the pooled belief.
        region_mass: Nominal mass at which a region covered 50 and 90 % of the validation places.
        strange: Largest strangeness (see the encoder) of a picture that may belong to the gallery's world; beyond it
            the locators know nothing.
        abstain_radius_km: No point is given when half the belief does not fit within this radius.
        text_weight: Exponent, in the pool, of what a model without S2 symbols says in words.
        other_weights: Exponents of further locators, by name.
        promise: What was shown of answers that are given within ``abstain_radius_km``; None where nothing was.
    """

    neighbours: NeighbourConfig = dataclasses.field(default_factory=NeighbourConfig)
    token_temperature: float = 1.0
    weights: tuple[float, float] = (1.0, 0.5)
    temperature: float = 1.0
    region_mass: tuple[float, float] = (0.5, 0.9)
    strange: float = 1e9
    abstain_radius_km: float = 1500.0
    text_weight: float = 1.0
    other_weights: Mapping[str, float] = dataclasses.field(default_factory=dict)
    promise: Promise | None = None

    @property
    def pool(self) -> Pool:
        """The log-linear pool of all locators that are trusted."""
        named = {**dict(zip(("neighbours", "tokens"), self.weights, strict=True)), "text": self.text_weight}
        return Pool(named | dict(self.other_weights), self.temperature)

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read what :meth:`save` wrote.

        Raises:
            GalleryError: The file is damaged or of another version.
        """
        try:
            values: dict[str, Any] = json.loads(path.read_text())
            lists: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v
                for k, v in values.items()
                if k not in ("neighbours", "promise")
            }
            told: dict[str, Any] | None = values.get("promise")
            promise = None if told is None else Promise(**{**told, "risk": Risk(**told["risk"])})
            config: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in values["neighbours"].items()
            }
            if config.get("surroundings") is not None:
                config["surroundings"] = SurroundingsConfig(**config["surroundings"])
            return cls(neighbours=NeighbourConfig(**config), promise=promise, **lists)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise GalleryError(f"{path.name} is not a calibration this version reads: {error}") from error
