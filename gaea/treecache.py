"""Scores paths of the S2 tree with a language model that reads each symbol once.

The prompt's keys and values are computed once and never copied per path: the new symbols of a call go through the model
as one sequence, in which each sees the prompt, the symbols before it on its own path, and itself, by way of the
attention mask. What a symbol leaves in the cache is kept, so that any later path through it goes on from there, in
whatever order a search jumps about the tree. A beam is thereby reordered by naming other ancestors; nothing moves.

Source:
    Tree attention as in SpecInfer (Miao et al. 2024), section 4.2, here for search in place of speculation.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from gaea import geotokens
from gaea.hilbert import IntArray
from gaea.sphere import FloatArray

REMEMBERED = 4096
"""Symbols whose keys and values are kept; a few hundred are what a search leaves."""


class TreeScorer:
    """A :class:`gaea.searchtree.NextToken` over a causal language model and a prompt that it reads at once.

    Models whose cache or attention cannot be told a mask (sliding windows, linear attention, flash attention) are fed
    whole paths after a copy of the prompt's cache instead, which is slower and gives the same.

    Args:
        model: Called as transformers models are.
        core: The same without its head and adapters, where Qwen-like models keep the shift of their positions.
        inputs: Of the prompt, one row, up to where the first symbol stands.
        symbol_ids: Vocabulary ids of the 6 faces and 16 digits.
        remembered: Symbols to keep; beyond it all but those of the present call are forgotten, and read again if need
            be.

    Attributes:
        tokens_fed: Symbols that the model has read since the prompt.
        calls: Forward passes since the prompt.
    """

    def __init__(
        self, model: Any, core: Any, inputs: Any, symbol_ids: list[int], *, remembered: int = REMEMBERED
    ) -> None:
        import torch

        self.tokens_fed = 0
        self.calls = 0
        self._model, self._torch, self._remembered = model, torch, remembered
        self._faces, self._digits = symbol_ids[:6], symbol_ids[6:22]
        with torch.inference_mode():
            first = model(**inputs, use_cache=True)
        self._root = _log_softmax(first.logits[:, -1, self._faces])
        self._prompt = first.past_key_values
        self._length, self._device = inputs["input_ids"].shape[1], inputs["input_ids"].device
        # A picture takes fewer positions than tokens in some models; later tokens are shifted by the difference.
        shift = getattr(core, "rope_deltas", None)
        self._start = self._length + (0 if shift is None else int(shift.max()))
        self._masked = _takes_masks(core, self._prompt)
        self._at: dict[int, int] = {}  # cell of a path: where its last symbol's keys and values are
        self._rows: dict[int, FloatArray] = {}  # cell of a path: log-probabilities of its next symbol
        self._kept: list[tuple[Any, Any]] = []  # keys and values of each layer, (1, heads, symbols, dim)

    def __call__(self, prefixes: IntArray) -> FloatArray:
        """See :class:`gaea.searchtree.NextToken`; asking again costs nothing."""
        n, length = prefixes.shape
        if not length:
            return np.repeat(self._root, n, 0)
        cells = np.stack([geotokens.decode(prefixes[:, : k + 1]) for k in range(length)], 1)
        self._forget(set(cells.ravel().tolist()))
        for k in range(0 if self._masked else length - 1, length):
            new = {c: row for row, c in enumerate(cells[:, k].tolist()) if c not in self._rows}
            if new:
                rows = list(new.values())
                read = self._read_symbols if self._masked else self._read_paths
                found = read(prefixes[rows, : k + 1], cells[rows, : k + 1])
                self._rows.update(zip(new, found, strict=True))
        return np.stack([self._rows[c] for c in cells[:, -1].tolist()])

    def _read_symbols(self, paths: IntArray, cells: np.ndarray) -> FloatArray:
        """Read the last symbol of each path, all others of it being known."""
        from transformers import Cache, DynamicLayer

        torch, device = self._torch, self._device
        n, length = paths.shape
        ancestors = np.unique(cells[:, :-1])
        where = torch.tensor([self._at[c] for c in ancestors.tolist()], dtype=torch.long, device=device)
        layers = []
        for number, layer in enumerate(self._prompt.layers):
            known = DynamicLayer()
            known.lazy_initialization(layer.keys, layer.values)
            known.keys, known.values = layer.keys, layer.values
            if len(ancestors):
                keys, values = self._kept[number]
                known.keys = torch.cat([layer.keys, keys.index_select(2, where)], 2)
                known.values = torch.cat([layer.values, values.index_select(2, where)], 2)
            layers.append(known)
        unseen = np.ones((n, self._length + len(ancestors) + n), np.bool_)
        unseen[:, : self._length] = False
        unseen[np.arange(n)[:, None], self._length + np.searchsorted(ancestors, cells[:, :-1])] = False
        unseen[np.arange(n), self._length + len(ancestors) + np.arange(n)] = False
        dtype = self._prompt.layers[0].keys.dtype
        mask = torch.zeros(1, 1, *unseen.shape, dtype=dtype, device=device)
        mask.masked_fill_(torch.from_numpy(unseen).to(device), torch.finfo(dtype).min)
        with torch.inference_mode():
            out = self._model(
                input_ids=self._ids(paths[:, -1:], first=length == 1).T,
                attention_mask=mask,
                position_ids=torch.full((1, n), self._start + length - 1, device=device),
                past_key_values=Cache(layers=layers),
                use_cache=True,
            )
        self.calls += 1
        self.tokens_fed += n
        self._keep([(layer.keys[:, :, -n:], layer.values[:, :, -n:]) for layer in layers], cells[:, -1].tolist())
        return _log_softmax(out.logits[0][:, self._digits])

    def _read_paths(self, paths: IntArray, cells: np.ndarray) -> FloatArray:
        """Read whole paths, each after a copy of the prompt's cache."""
        del cells
        torch, device = self._torch, self._device
        n, length = paths.shape
        cache = copy.deepcopy(self._prompt)
        cache.batch_repeat_interleave(n)
        ids = torch.cat([self._ids(paths[:, :1], first=True), self._ids(paths[:, 1:], first=False)], 1)
        with torch.inference_mode():
            out = self._model(
                input_ids=ids,
                attention_mask=torch.ones(n, self._length + length, dtype=torch.long, device=device),
                position_ids=torch.arange(self._start, self._start + length, device=device).expand(n, -1),
                past_key_values=cache,
                use_cache=True,
            )
        self.calls += 1
        self.tokens_fed += n * length
        return _log_softmax(out.logits[:, -1, self._digits])

    def _keep(self, new: list[tuple[Any, Any]], cells: list[int]) -> None:
        base = len(self._at)
        self._at.update({cell: base + i for i, cell in enumerate(cells)})
        if not base:  # copies, so that the prompt's part of the cache they are cut from can go
            self._kept = [(keys.clone(), values.clone()) for keys, values in new]
            return
        cat = self._torch.cat
        self._kept = [
            (cat([keys, more_keys], 2), cat([values, more_values], 2))
            for (keys, values), (more_keys, more_values) in zip(self._kept, new, strict=True)
        ]

    def _forget(self, needed: set[int]) -> None:
        """Make room for a call, keeping of what is known what the call needs."""
        if len(self._rows) + len(needed) <= self._remembered:
            return
        self._rows = {cell: row for cell, row in self._rows.items() if cell in needed}
        kept = [cell for cell in self._at if cell in needed]
        where = self._torch.tensor([self._at[cell] for cell in kept], dtype=self._torch.long, device=self._device)
        self._kept = [(keys.index_select(2, where), values.index_select(2, where)) for keys, values in self._kept]
        self._at = {cell: i for i, cell in enumerate(kept)}

    def _ids(self, symbols: IntArray, *, first: bool) -> Any:
        ids = np.array(self._faces if first else self._digits)[symbols]
        return self._torch.tensor(ids, device=self._device)


def _takes_masks(core: Any, cache: Any) -> bool:
    """Whether every layer keeps all keys in order, and the attention takes a mask for each query."""
    from transformers import DynamicLayer

    text = core.config.get_text_config()
    plain = all(type(layer) is DynamicLayer for layer in cache.layers)
    return plain and text._attn_implementation in ("sdpa", "eager")


def _log_softmax(logits: Any) -> FloatArray:
    return np.asarray(logits.float().log_softmax(-1).cpu().numpy(), np.float64)
