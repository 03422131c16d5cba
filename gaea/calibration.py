"""What validation places taught about trust: temperatures, pooling weights, region sizes and when to abstain.

One JSON file beside the gallery it was fitted on. :mod:`gaea.finetune.calibrate` writes the shipped one, from
validation places only; :mod:`gaea.rag.calibrate` one for an index of the user's own.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from gaea.errors import GalleryError
from gaea.locate.neighbours import NeighbourConfig

CALIBRATION_FILE = "calibration.json"


@dataclasses.dataclass(frozen=True)
class Calibration:
    """How far each source is trusted.

    Attributes:
        neighbours: Kernel density of the retrieved neighbours.
        token_temperature: Divides the log-probabilities of S2 symbols.
        weights: Exponents of (neighbours, tokens) in the log-linear pool.
        text_weight: Exponent, in that pool, of what a model without S2 symbols says in words.
        temperature: Of the pooled belief.
        region_mass: Nominal mass at which a region covered 50 and 90 % of the validation places.
        strange: Largest strangeness (see the encoder) of a picture that may belong to the gallery's world; beyond it
            the locators know nothing.
        abstain_radius_km: No point is given when half the belief does not fit within this radius.
    """

    neighbours: NeighbourConfig = dataclasses.field(default_factory=NeighbourConfig)
    token_temperature: float = 1.0
    weights: tuple[float, float] = (1.0, 0.5)
    temperature: float = 1.0
    region_mass: tuple[float, float] = (0.5, 0.9)
    strange: float = 1e9
    abstain_radius_km: float = 1500.0
    text_weight: float = 1.0

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
                k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k != "neighbours"
            }
            config: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in values["neighbours"].items()
            }
            return cls(neighbours=NeighbourConfig(**config), **lists)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise GalleryError(f"{path.name} is not a calibration this version reads: {error}") from error
