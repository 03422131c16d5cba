"""Adapters and their bases: which model an adapter was trained on, and how it is put on a model again.

An adapter says by name what it belongs to, and a name is no proof: folders move, and two models of one shape take each
other's adapters without complaint. So an adapter trained here carries a *likeness* of its base: its shape, and a few
dozen of its weights. Those are compared with a tolerance, so that the base may be loaded in another precision, or
quantised (whose rounded matrices are then left out). Adapters of strangers have none; for those, peft's own checks must
do.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gaea import geotokens
from gaea.errors import ModelError, first_line

LIKENESS_FILE = "gaea_adapter.json"
TOLERANCE = 0.02
"""Relative to the largest of the compared weights; bfloat16 rounds by 0.004."""
_ROWS, _COLUMNS = 6, 8


def likeness(model: Any) -> dict[str, Any]:
    """What identifies a base model: sizes, and some weights of its embedding and of first and last language layers.

    Args:
        model: As loaded, before symbols are added and before peft wraps it.
    """
    table = model.get_input_embeddings().weight
    # Evenly from first to last, so that a table of another length is another likeness.
    rows = [round(i * (len(table) - 1) / (_ROWS - 1)) for i in range(_ROWS)]
    return {**_sizes(model), "rows": rows, "weights": _weights(model, rows)}


def differences(told: dict[str, Any], model: Any) -> list[str]:
    """How a bare model differs from the base that an adapter was trained on; empty where it is that base."""
    here = _sizes(model)
    found = [f"{name} {here[name]}, not {told[name]}" for name in here if here[name] != told[name]]
    words = len(model.get_input_embeddings().weight)
    if not found and max(told["rows"]) >= words:
        found.append(f"{words} words, not {max(told['rows']) + 1} or more")
    if found:
        return found
    weights = _weights(model, told["rows"])
    for name in sorted(set(weights) & set(told["weights"])):
        ours, theirs = weights[name], told["weights"][name]
        scale = max(map(abs, theirs), default=0.0) or 1.0
        if any(abs(a - b) > TOLERANCE * scale for a, b in zip(ours, theirs, strict=True)):
            found.append(f"other weights in {name}")
    return found


def check_base(adapter: str | Path, model: Any) -> None:
    """Refuse an adapter that was trained on another base.

    Args:
        adapter: Folder or hub name.
        model: The bare model.

    Raises:
        ModelError: It was; or its likeness cannot be read.
    """
    if Path(adapter).is_absolute() and not Path(adapter).is_dir():
        raise ModelError(f"'{adapter}' is not an adapter: there is no such folder")
    try:
        file = _file(adapter, LIKENESS_FILE)
        if file is None:
            return
        told = json.loads(Path(file).read_text(encoding="utf-8"))
        found = differences(told["likeness"], model)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{LIKENESS_FILE} of '{adapter}' cannot be read: {first_line(error)}") from error
    if found:
        raise ModelError(
            f"'{adapter}' is an adapter for '{told.get('base', 'another model')}', and this model differs: "
            f"{'; '.join(found[:3])}; give the model that it was trained on"
        )


def concludes(adapter: str | Path) -> bool:
    """Whether an adapter was taught to name the fact before a choice or a verdict; see :mod:`gaea.concluding`."""
    file = _file(adapter, LIKENESS_FILE)
    return file is not None and bool(json.loads(Path(file).read_text(encoding="utf-8")).get("concludes"))


def fit(model: Any, processor: Any, adapter: str | Path) -> Any:
    """Put an adapter on a bare model, with the words it was taught.

    Args:
        model: As loaded; changed in place where the adapter's tokenizer has S2 symbols that it lacks.
        processor: Of the model; takes over the adapter's tokenizer where there is one.
        adapter: Folder or hub name of a PEFT adapter.

    Returns:
        The model with the adapter, peft's own.

    Raises:
        ModelError: It is no adapter, or one for another model.
    """
    from peft import PeftModel
    from safetensors import SafetensorError

    check_base(adapter, model)
    try:
        taught = _tokenizer(adapter)
        if taught is not None:
            if set(geotokens.all_symbols()) <= set(taught.get_vocab()):
                geotokens.add_to(taught, model)
            processor.tokenizer = taught
        return PeftModel.from_pretrained(model, str(adapter))
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise ModelError(f"'{adapter}' is not an adapter for this model: {first_line(error)}") from error


def _tokenizer(adapter: str | Path) -> Any | None:
    """The tokenizer that lies beside an adapter, None where none does."""
    from transformers import AutoTokenizer

    if _file(adapter, "tokenizer_config.json") is None:
        return None
    return AutoTokenizer.from_pretrained(str(adapter), trust_remote_code=False)


def _file(adapter: str | Path, name: str) -> str | None:
    """Where a file of an adapter lies, on this machine or fetched from a hub; None where it has none."""
    from transformers.utils import cached_file

    found: str | None = cached_file(
        str(adapter),
        name,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
        _raise_exceptions_for_gated_repo=False,
    )
    return found


def _sizes(model: Any) -> dict[str, Any]:
    text = model.config.get_text_config()
    return {
        "model_type": model.config.model_type,
        "hidden_size": text.hidden_size,
        "layers": text.num_hidden_layers,
    }


def _weights(model: Any, rows: list[int]) -> dict[str, list[float]]:
    table = model.get_input_embeddings().weight
    found = {"embedding": [value for row in rows for value in _sample(table[row])]}
    return found | {name: _sample(part.weight[0]) for name, part in _probed(model)}


def _probed(model: Any) -> list[tuple[str, Any]]:
    """First and last matrices of the language model that are kept as floats, by their names."""
    language = getattr(model.model, "language_model", model.model)
    kept = [
        (name, part)
        for name, part in language.named_modules()
        if name.endswith(("o_proj", "down_proj")) and part.weight.is_floating_point()
    ]
    return [kept[0], kept[-1]] if kept else []


def _sample(row: Any) -> list[float]:
    return [round(float(value), 6) for value in row[:_COLUMNS].detach().float().cpu()]
