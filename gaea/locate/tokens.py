"""GeoToken's own transformer as a locator: pictures and their neighbours in, the next S2 symbol out, a belief at last.

An encoder looks at a picture's features, and at those of its neighbours with the places they were taken; a decoder
writes the place symbol by symbol. What the encoder made of a picture is computed once; every search of
:mod:`gaea.decoding` then asks for next symbols, each of which is read once (:mod:`gaea.locate.tokentree`).

Source:
    GeoToken (arXiv 2511.01082 and its code). The defaults are its sizes, about 55 M parameters. Three options that are
    ours make a small network learn within minutes: ``folded``, ``similarity`` and ``place_waves``.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from gaea import geotokens
from gaea.belief import Belief
from gaea.decoding import NextToken, SearchConfig, search
from gaea.errors import InputError, ModelError
from gaea.locate.tokeninputs import CONFIG_FILE, Pictures, TokensConfig, read_config
from gaea.sphere import FloatArray

if TYPE_CHECKING:
    from gaea.locate.tokennet import TokensNet
    from gaea.locate.tokentree import TokenTree

__all__ = ["CONFIG_FILE", "WEIGHTS_FILE", "Pictures", "TokensConfig", "TokensLocator", "log_probs_of", "save"]

WEIGHTS_FILE = "model.safetensors"


class TokensLocator:
    """A trained network, ready to say where pictures are.

    Args:
        net: In evaluation mode after this.
        device: Torch device.
    """

    name = "tokens"

    def __init__(self, net: TokensNet, *, device: str = "cpu") -> None:
        self.net = net.to(device).eval()
        self.config = net.config

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "cpu") -> Self:
        """Read what :func:`save` wrote, whatever precision it was kept in; it computes in fp32.

        Raises:
            ModelError: A file is missing or damaged, a setting is unknown, or weights and settings do not fit.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        from gaea.locate.tokennet import TokensNet

        folder = Path(folder)
        net = TokensNet(read_config(folder))
        try:
            state = load_file(folder / WEIGHTS_FILE)
            net.load_state_dict({name: value.float() for name, value in state.items()})
        except (OSError, SafetensorError, RuntimeError) as error:
            raise ModelError(
                f"{folder / WEIGHTS_FILE} holds no weights that fit {CONFIG_FILE} beside it: "
                f"{' '.join(str(error).split())[:200]}"
            ) from error
        net = net.to(device)
        net.pack()
        return cls(net, device=device)

    def read(self, pictures: Pictures) -> TokenTree:
        """Encode pictures, once; what comes back scores paths for each of them.

        Raises:
            InputError: As :meth:`Pictures.checked`.
        """
        import torch

        from gaea.locate.tokennet import told
        from gaea.locate.tokentree import TokenTree

        seen = told(pictures.checked(self.config), self.config, device=next(self.net.parameters()).device)
        with torch.inference_mode():
            return TokenTree(self.net, self.net.encode(seen))

    def scorer(self, pictures: Pictures) -> NextToken:
        """How probable each next S2 symbol is for one picture (q = 1); every search of `gaea.decoding` takes this.

        Raises:
            InputError: More than one picture, or as :meth:`Pictures.checked`.
        """
        tree = self.read(pictures)
        if tree.pictures != 1:
            raise InputError(f"a scorer is for one picture, not {tree.pictures}: use read() for several")
        return tree.scorer(0)

    def belief(self, pictures: Pictures, config: SearchConfig | None = None) -> Belief:
        """The belief of one picture (q = 1): the tree that :func:`gaea.decoding.search` opens.

        Raises:
            InputError: As :meth:`scorer`.
        """
        config = config or SearchConfig()
        symbols = min(config.symbols, self.config.length)
        return search(self.scorer(pictures), dataclasses.replace(config, symbols=symbols))


def save(net: TokensNet, folder: str | Path, *, half: bool = False) -> None:
    """Write a network as safetensors and its sizes as JSON; ``half`` keeps two bytes a weight."""
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_FILE).write_text(json.dumps(dataclasses.asdict(net.config), indent=2) + "\n")
    state = {name: (value.half() if half else value).contiguous().cpu() for name, value in net.state_dict().items()}
    save_file(state, folder / WEIGHTS_FILE)


def log_probs_of(tree: TokenTree, cells: npt.ArrayLike) -> FloatArray:
    """Log-probability of one cell for each picture, ``(q,)``: the sum over its symbols, however improbable.

    Raises:
        InputError: Not one cell for each picture, or a cell that has no symbols.
    """
    symbols = geotokens.encode_cells(cells)
    if symbols.ndim != 2 or len(symbols) != tree.pictures or np.any(symbols == geotokens.PAD):
        raise InputError(f"cells of shape {np.shape(cells)} for {tree.pictures} pictures: expected one each, one level")
    rows = np.arange(len(symbols))
    steps = [tree.log_probs(rows, symbols[:, :k])[rows, symbols[:, k]] for k in range(symbols.shape[1])]
    return np.asarray(np.sum(steps, axis=0))
