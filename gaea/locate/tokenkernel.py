"""GeoToken's decoder for a few rows of one picture, compiled: each weight passes through the processor once a step.

A search reads some five symbols at a time, and all weights of the decoder are needed for them. So memory is what it
waits for, and what a step costs is how many bytes it takes in and how seldom it pauses. Here a whole step is one call.
Weights lie in the order of their use, in tiles that fill two vectors; a weight is fetched before it is needed, in 16
bits where it was kept so, and multiplied with all rows in 32. Nothing is rounded: 16 bits widen exactly.

Several threads share a step: each calls with its part, does its heads and its outputs of every layer, and waits for the
others where it needs what they made. A thread that waits long gives its core away for a moment.

Compiled by numba when first called, which takes ten to twenty seconds, and kept on disk beside the module or, where
that cannot be written, in the user's cache. All of it stands in one file, because that is the only one whose changes
make numba compile again.

Source: keeping the sums of a block in registers while a panel streams by is K. Goto & R. van de Geijn, "Anatomy of
High-Performance Matrix Multiplication" (2008); the exponential is Cephes' `expf` (S. Moshier).
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["FEW", "MANY", "ROWS", "SHARED", "TILE", "interleaved", "keep", "read", "supported", "tell"]

FEW, ROWS = 5, 8
"""Rows of a step: arrays have as many as the smaller of these that holds them."""
_CPU = binding.get_host_cpu_features()
_LANES = 16 if _CPU.get("avx512f") else 8
TILE = 2 * _LANES
"""Outputs of a layer that are summed at once; widths have to be multiples of it."""
MANY = 12 if _LANES == 16 else 4
"""Rows of the encoder's memory, or of weights, that are taken together: as many sums as there are registers for."""
SHARED = os.name == "posix"
"""Whether threads may share a step here."""
_PATIENCE, _NAP = 20_000, 20  # looks at a gate before a core is given away, and for how many microseconds
_AHEAD, _LINE = 8192, 64  # bytes, of what is fetched before it is needed, and at once
_UNROLLED = 2  # inputs of a layer; widths are even

_F32, _F16, _I64, _I32, _I8 = ir.FloatType(), ir.HalfType(), ir.IntType(64), ir.IntType(32), ir.IntType(8)
_VECTOR, _HALVES = ir.VectorType(_F32, _LANES), ir.VectorType(_F16, _LANES)


def supported() -> bool:
    """Whether this processor widens 16-bit numbers by itself and has fused vector products."""
    if platform.machine().lower() in {"x86_64", "amd64"}:
        return all(_CPU.get(name) for name in ("avx2", "fma", "f16c"))
    return platform.machine().lower() in {"aarch64", "arm64"}


def _summed(rows: int, *, interleaved: bool = False) -> Callable[..., None]:
    """So many rows times one tile, the sums staying in registers.

    What it makes is called with flat positions: out[oo + r·os : … + TILE] = bias[bo : … + TILE] + Σ_i x[xo + r·xs + i]
    · w[wo + i·ws : … + TILE] for i below an even k, with w in 32 bits, or uint16 holding half-precision bits.
    Interleaved rows lie side by side instead, x[xo + i·rows + r], and w is at hand and not fetched ahead.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def summed(_, x, xo, xs, w, wo, ws, k, bias, bo, out, oo, os):  # type: ignore[no-untyped-def]
        signature = types.void(x, xo, xs, w, wo, ws, k, bias, bo, out, oo, os)
        half = w.dtype == types.uint16

        def emit(context: Any, b: ir.IRBuilder, signature: Any, given: Any) -> Any:
            x, w, bias, out = (
                context.make_array(signature.args[at])(context, b, given[at]).data for at in (0, 3, 7, 9)
            )
            xo, xs, wo, ws, k, bo, oo, os = (given[at] for at in (1, 2, 4, 5, 6, 8, 10, 11))

            def pair(start: Any, kind: ir.VectorType, align: int) -> list[Any]:
                start = b.bitcast(start, kind.as_pointer())
                return [b.load(b.gep(start, [_I64(j)]), align=align) for j in range(2)]

            first = pair(b.gep(bias, [bo]), _VECTOR, 4)
            x, w = b.gep(x, [xo]), b.gep(w, [wo])
            before, loop, done = b.block, b.append_basic_block("inputs"), b.append_basic_block("done")
            b.branch(loop)
            b.position_at_end(loop)
            at = b.phi(_I64)
            at.add_incoming(_I64(0), before)
            sums = [b.phi(_VECTOR) for _ in range(2 * rows)]
            for j, sum_ in enumerate(sums):
                sum_.add_incoming(first[j % 2], before)
            new = list(sums)
            for step in range(_UNROLLED):
                i = b.add(at, _I64(step))
                row = b.gep(w, [b.mul(i, ws)])
                ahead = b.gep(b.bitcast(row, _I8.as_pointer()), [_I64(_AHEAD)])
                for line in range(0 if interleaved else 1 if half else 2):
                    _fetch(b, b.gep(ahead, [_I64(line * _LINE)]))
                weights = [b.fpext(v, _VECTOR) for v in pair(row, _HALVES, 2)] if half else pair(row, _VECTOR, 4)
                for r in range(rows):
                    place = b.add(b.mul(i, _I64(rows)), _I64(r)) if interleaved else b.add(b.mul(xs, _I64(r)), i)
                    value = _everywhere(b, b.load(b.gep(x, [place])))
                    for j in range(2):
                        new[2 * r + j] = _multiply_add(b, weights[j], value, new[2 * r + j])
            after = b.add(at, _I64(_UNROLLED))
            at.add_incoming(after, loop)
            for sum_, value in zip(sums, new, strict=True):
                sum_.add_incoming(value, loop)
            b.cbranch(b.icmp_signed("<", after, k), loop, done)
            b.position_at_end(done)
            for r in range(rows):
                place = b.bitcast(b.gep(out, [b.add(oo, b.mul(os, _I64(r)))]), _VECTOR.as_pointer())
                for j in range(2):
                    b.store(new[2 * r + j], b.gep(place, [_I64(j)]), align=4)
            return context.get_dummy_value()

        return signature, emit

    return summed  # type: ignore[no-any-return]


def _fetch(b: ir.IRBuilder, place: Any) -> None:
    """Ask for a line of memory, into the second cache; a place that is nobody's is not looked at."""
    kind = ir.FunctionType(ir.VoidType(), [_I8.as_pointer(), _I32, _I32, _I32])
    fetch = cgutils.get_or_insert_function(b.module, kind, "llvm.prefetch.p0i8")
    b.call(fetch, [place, _I32(0), _I32(2), _I32(1)])


def _everywhere(b: ir.IRBuilder, value: Any) -> Any:
    """A number in all lanes."""
    nothing = ir.Constant(_VECTOR, ir.Undefined)
    mask = ir.Constant(ir.VectorType(_I32, _LANES), [0] * _LANES)
    return b.shuffle_vector(b.insert_element(nothing, value, _I32(0)), nothing, mask)


def _multiply_add(b: ir.IRBuilder, one: Any, other: Any, added: Any) -> Any:
    """One rounding for both."""
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
    return b.call(cgutils.get_or_insert_function(b.module, kind, f"llvm.fma.v{_LANES}f32"), [one, other, added])


@intrinsic  # type: ignore[untyped-decorator]
def _counted(_: Any, gate: Any) -> Any:
    """Add 1 to an int64 array's first number, for all threads to see, what was written before included."""

    def emit(context: Any, b: ir.IRBuilder, signature: Any, given: Any) -> Any:
        b.atomic_rmw("add", context.make_array(signature.args[0])(context, b, given[0]).data, _I64(1), "acq_rel")
        return context.get_dummy_value()

    return types.void(gate), emit


@intrinsic  # type: ignore[untyped-decorator]
def _count(_: Any, gate: Any) -> Any:
    """Read that number, and see what was written before it grew."""

    def emit(context: Any, b: ir.IRBuilder, signature: Any, given: Any) -> Any:
        return b.load_atomic(context.make_array(signature.args[0])(context, b, given[0]).data, "acquire", 8)

    return types.int64(gate), emit


@intrinsic  # type: ignore[untyped-decorator]
def _given_way(_: Any) -> Any:
    """Let another thread have the core for a moment, if one waits for it."""

    def emit(context: Any, b: ir.IRBuilder, *_: Any) -> Any:
        b.call(cgutils.get_or_insert_function(b.module, ir.FunctionType(_I32, [_I32]), "usleep"), [_I32(_NAP)])
        return context.get_dummy_value()

    return types.void(), emit


@intrinsic  # type: ignore[untyped-decorator]
def _fetched(_: Any, array: Any, at: Any) -> Any:
    """Ask for the line of memory in which a flat position of an array lies."""

    def emit(context: Any, b: ir.IRBuilder, signature: Any, given: Any) -> Any:
        place = b.gep(context.make_array(signature.args[0])(context, b, given[0]).data, [given[1]])
        _fetch(b, b.bitcast(place, _I8.as_pointer()))
        return context.get_dummy_value()

    return types.void(array, at), emit


@intrinsic  # type: ignore[untyped-decorator]
def _dot(_: Any, x: Any, xo: Any, y: Any, yo: Any, k: Any) -> Any:
    """Sum of products of k numbers each, from flat positions on; k is a multiple of TILE / 2."""

    def emit(context: Any, b: ir.IRBuilder, signature: Any, given: Any) -> Any:
        x, y = (
            b.gep(context.make_array(signature.args[at])(context, b, given[at]).data, [given[at + 1]]) for at in (0, 2)
        )
        before, loop, done = b.block, b.append_basic_block("numbers"), b.append_basic_block("done")
        b.branch(loop)
        b.position_at_end(loop)
        i, total = b.phi(_I64), b.phi(_VECTOR)
        one, other = (b.load(b.bitcast(b.gep(side, [i]), _VECTOR.as_pointer()), align=4) for side in (x, y))
        new, after = _multiply_add(b, one, other, total), b.add(i, _I64(_LANES))
        for phi, first, later in ((i, _I64(0), after), (total, ir.Constant(_VECTOR, [0.0] * _LANES), new)):
            phi.add_incoming(first, before)
            phi.add_incoming(later, loop)
        b.cbranch(b.icmp_signed("<", after, given[4]), loop, done)
        b.position_at_end(done)
        kind = ir.FunctionType(_F32, [_F32, _VECTOR])
        add = cgutils.get_or_insert_function(b.module, kind, f"llvm.vector.reduce.fadd.v{_LANES}f32")
        return b.call(add, [_F32(0.0), new], fastmath=("fast",))

    return types.float32(x, xo, y, yo, k), emit


@intrinsic  # type: ignore[untyped-decorator]
def _grown(_: Any, out: Any, oo: Any, __: Any, y: Any, yo: Any, k: Any) -> Any:
    """Add so many times k numbers to others, from flat positions on; k is a multiple of TILE / 2."""

    def emit(context: Any, b: ir.IRBuilder, signature: Any, given: Any) -> Any:
        out, y = (
            b.gep(context.make_array(signature.args[at])(context, b, given[at]).data, [given[shift]])
            for at, shift in ((0, 1), (3, 4))
        )
        factor = _everywhere(b, given[2])
        before, loop, done = b.block, b.append_basic_block("numbers"), b.append_basic_block("done")
        b.branch(loop)
        b.position_at_end(loop)
        i = b.phi(_I64)
        to, more = (b.bitcast(b.gep(side, [i]), _VECTOR.as_pointer()) for side in (out, y))
        b.store(_multiply_add(b, factor, b.load(more, align=4), b.load(to, align=4)), to, align=4)
        after = b.add(i, _I64(_LANES))
        i.add_incoming(_I64(0), before)
        i.add_incoming(after, loop)
        b.cbranch(b.icmp_signed("<", after, given[5]), loop, done)
        b.position_at_end(done)
        return context.get_dummy_value()

    return types.void(out, oo, types.float32, y, yo, k), emit


_summed_few, _summed_rows, _summed_many = _summed(FEW), _summed(ROWS), _summed(MANY, interleaved=True)


_compiled = njit(nogil=True, fastmath=True, error_model="numpy")


@_compiled
def _all_here(gate, parts, times):  # type: ignore[no-untyped-def]
    """Wait until all threads have come here so many times; a count below 0 says that one of them never will."""
    if parts > 1:
        _counted(gate)
        looked, count = 0, _count(gate)
        while 0 <= count < parts * times:
            looked += 1
            if looked % _PATIENCE == 0:
                _given_way()
            count = _count(gate)


@_compiled
def _tile(x, xo, w, wo, ws, k, bias, bo, out, oo):  # type: ignore[no-untyped-def]
    """:func:`_summed` for as many rows as the arrays have."""
    if x.shape[0] == FEW:
        _summed_few(x, xo, x.shape[1], w, wo, ws, k, bias, bo, out, oo, out.shape[1])
    else:
        _summed_rows(x, xo, x.shape[1], w, wo, ws, k, bias, bo, out, oo, out.shape[1])


@_compiled
def _layer(x, weights, at, numbers, bias, out, start, end):  # type: ignore[no-untyped-def]
    """Some outputs of a linear layer, (rows, in) to (rows, out)."""
    for o in range(start, end, TILE):
        _tile(x, 0, weights, at + o * x.shape[1], TILE, x.shape[1], numbers, bias + o, out, o)


@_compiled
def _mine(part, parts, count, unit):  # type: ignore[no-untyped-def]
    """Where a thread's share of so many units begins and ends."""
    return part * count // parts * unit, (part + 1) * count // parts * unit


@_compiled
def _normed(x, numbers, at, epsilon, out):  # type: ignore[no-untyped-def]
    """Layer norm, its weights and then its biases standing at a place of the numbers."""
    rows, width = x.shape
    for r in range(rows):
        mean = np.float32(0)
        for i in range(width):
            mean += x[r, i]
        mean /= np.float32(width)
        spread = np.float32(0)
        for i in range(width):
            spread += (x[r, i] - mean) * (x[r, i] - mean)
        scale = np.float32(1) / np.sqrt(spread / np.float32(width) + epsilon)
        for i in range(width):
            out[r, i] = (x[r, i] - mean) * scale * numbers[at + i] + numbers[at + width + i]


@_compiled
def _softmax(row, count, scale):  # type: ignore[no-untyped-def]
    """Of so many scaled scores, in place."""
    top = row[0]
    for i in range(1, count):
        top = max(top, row[i])
    total = np.float32(0)
    for i in range(count):
        t = max((row[i] - top) * scale, np.float32(-87))
        twos = np.floor(t * np.float32(1.44269504) + np.float32(0.5))
        t = t - twos * np.float32(0.693359375) + twos * np.float32(2.12194440e-4)
        series = np.float32(1.9875691500e-4)
        series = series * t + np.float32(1.3981999507e-3)
        series = series * t + np.float32(8.3334519073e-3)
        series = series * t + np.float32(4.1665795894e-2)
        series = series * t + np.float32(1.6666665459e-1)
        series = series * t + np.float32(5.0000001201e-1)
        power = np.int32((np.int32(twos) + np.int32(127)) << np.int32(23)).view(np.float32)
        row[i] = (series * t * t + t + np.float32(1)) * power
        total += row[i]
    for i in range(count):
        row[i] /= total


@_compiled
def _called_back(kept, start, end, paths, lengths):  # type: ignore[no-untyped-def]
    """Have what :func:`_looked_back` will look at come closer meanwhile."""
    count, room, w = kept.shape
    flat = kept.reshape(-1)
    for r in range(len(paths)):
        for j in range(lengths[r]):
            for h in range(start, end):
                for i in range(0, w, _LINE // 4):
                    _fetched(flat, (h * room + paths[r, j]) * w + i)
                    _fetched(flat, ((count // 2 + h) * room + paths[r, j]) * w + i)


@_compiled
def _looked_back(told, kept, start, end, first, paths, lengths, seen):  # type: ignore[no-untyped-def]
    """Keep some heads' keys and values of new rows, and let each row attend to its own path."""
    width = told.shape[1] // 3
    heads, w = len(kept) // 2, kept.shape[2]
    scale = np.float32(1) / np.sqrt(np.float32(w))
    scores = np.zeros(paths.shape[1], np.float32)
    for r in range(len(paths)):
        for h in range(start, end):
            for i in range(w):
                kept[h, first + r, i] = told[r, width + h * w + i]
                kept[heads + h, first + r, i] = told[r, 2 * width + h * w + i]
    flat_told, flat_kept, flat_seen = told.reshape(-1), kept.reshape(-1), seen.reshape(-1)
    room, others = kept.shape[1], heads * kept.shape[1] * w
    for r in range(len(paths)):
        for h in range(start, end):
            for j in range(lengths[r]):
                scores[j] = _dot(flat_told, r * 3 * width + h * w, flat_kept, (h * room + paths[r, j]) * w, w)
            _softmax(scores, lengths[r], scale)
            seen[r, h * w : (h + 1) * w] = np.float32(0)
            for j in range(lengths[r]):
                place = others + (h * room + paths[r, j]) * w
                _grown(flat_seen, r * width + h * w, scores[j], flat_kept, place, w)


@_compiled
def _looked_up(asked, n, keys, values, positions, start, end, scores, seen):  # type: ignore[no-untyped-def]
    """Let some heads of n rows attend to the encoder's memory, a tile at a time."""
    _, tiles, w, _ = keys.shape
    scale = np.float32(1) / np.sqrt(np.float32(w))
    nothing = np.zeros(TILE, np.float32)
    flat_keys, flat_values = keys.reshape(-1), values.reshape(-1)
    for h in range(start, end):
        for t in range(tiles):
            _tile(asked, h * w, flat_keys, (h * tiles + t) * w * TILE, TILE, w, nothing, 0, scores, t * TILE)
        for r in range(n):
            _softmax(scores[r], positions, scale)
        if positions % 2:  # the place after the last is there, and counts for nothing
            scores[:, positions] = np.float32(0)
        for o in range(h * w, (h + 1) * w, TILE):
            place = o * tiles * TILE
            _tile(scores, 0, flat_values, place, TILE, positions + positions % 2, nothing, 0, seen, o)


@_compiled
def interleaved(rows, count):  # type: ignore[no-untyped-def]
    """The first so many rows (n, in) in blocks of MANY side by side, (blocks, in, MANY); the last may overlap."""
    n, inputs = rows.shape
    out = np.empty((-(-count // MANY), inputs, MANY), np.float32)
    for block in range(len(out)):
        first = min(block * MANY, n - MANY)
        for r in range(MANY):
            for i in range(inputs):
                out[block, i, r] = rows[first + r, i]
    return out


@_compiled
def tell(encoded, positions, key_weights, value_weights, value_biases, keys, values, gate, part, parts):  # type: ignore[no-untyped-def]
    """Project what the encoder made of a picture to keys and values of all layers.

    The biases of keys are left out: they add the same to all scores of a row, which softmax does not see.

    Args:
        encoded: float32 (room, width), room being whole tiles; zeros where there are no positions.
        positions: How many there are.
        key_weights: All rows of (layers · width, width), float32, as :func:`interleaved` leaves them.
        value_weights: (layers · width / TILE, width, TILE), uint16 or float32 as in :func:`read`, flat.
        value_biases: float32 (layers · width,).
        keys: Overwritten, float32 (layers, heads, room / TILE, width of a head, TILE).
        values: Likewise, (layers, heads, width of a head / TILE, room, TILE), up to the last position or the next one.
        gate: An int64 zero of all parts.
        part: Of the work, for this thread.
        parts: Into which it is divided; all of them have to be called.
    """
    room, width = encoded.shape
    tiles, w, total = keys.shape[2], keys.shape[3], len(value_biases)
    columns = np.empty((tiles, width, TILE), np.float32)
    for t in range(tiles):
        for i in range(width):
            for j in range(TILE):
                columns[t, i, j] = encoded[t * TILE + j, i]
    rows = interleaved(encoded, positions)
    nothing, sums = np.zeros(TILE, np.float32), np.empty((MANY, TILE), np.float32)
    flat_rows, flat_columns, flat_weights = rows.reshape(-1), columns.reshape(-1), key_weights.reshape(-1)
    flat_keys, flat_values, flat_sums = keys.reshape(-1), values.reshape(-1), sums.reshape(-1)
    block = MANY * width
    start, end = _mine(part, parts, len(key_weights), 1)
    for n in range(start, end):
        first = min(n * MANY, total - MANY)
        for t in range(tiles):
            _summed_many(
                flat_weights, n * block, 0, flat_columns, t * width * TILE, TILE, width, nothing, 0, flat_sums, 0, TILE
            )
            for r in range(first, first + MANY):  # which may be of two heads
                place = ((r // w * tiles + t) * w + r % w) * TILE
                for j in range(TILE):
                    flat_keys[place + j] = sums[r - first, j]
    start, end = _mine(part, parts, total // TILE, TILE)
    for o in range(start, end, TILE):
        for n in range(len(rows)):
            place = o * room + min(n * MANY, room - MANY) * TILE
            _summed_many(
                flat_rows,
                n * block,
                0,
                value_weights,
                o * width,
                TILE,
                width,
                value_biases,
                o,
                flat_values,
                place,
                TILE,
            )
    _all_here(gate, parts, 1)


@_compiled
def _chosen(x, choices, weight, bias, out):  # type: ignore[no-untyped-def]
    """Log-probabilities of a row's choices, the last steps in double precision."""
    total = 0.0
    top = -np.inf
    for c in range(choices):
        score = np.float32(0)
        for i in range(len(x)):
            score += x[i] * weight[c, i]
        out[c] = score + bias[c]
        top = max(top, out[c])
    for c in range(choices):
        total += np.exp(out[c] - top)
    for c in range(choices):
        out[c] -= top + np.log(total)


@_compiled
def _added(x, more):  # type: ignore[no-untyped-def]
    for r in range(x.shape[0]):
        for i in range(x.shape[1]):
            x[r, i] += more[r, i]


@_compiled
def read(inputs, weights, numbers, epsilons, heads, kept, first, paths, lengths, memory, work, part, parts):  # type: ignore[no-untyped-def]
    """Take n new symbols of one picture through all layers, and say what may follow each.

    Args:
        inputs: What the decoder reads, float32 (n, width), with n at most ROWS.
        weights: Of all layers in the order of their use, each (out / TILE, in, TILE): uint16 holding half-precision
            bits, or float32.
        numbers: float32; before each layer's weights its norm's weights and biases if it has one, and its biases; at
            last those of the norm before the heads.
        epsilons: Of the norms, likewise.
        heads: For each length of a path, how many choices follow, their weights and their biases: (length,),
            (length, 16, width), (length, 16).
        kept: Keys and values of symbols, (layers, 2 · heads, room, width of a head).
        first: Where those of the first new symbol go; the others follow.
        paths: Where each row's symbols lie, itself included, (n, longest).
        lengths: How many, (n,).
        memory: Keys and values as :func:`tell` left them, and how many positions there are.
        work: What all parts write to: float32 (rows, 3 · width), (rows, width) twice, and (rows, width within the part
            that feeds forward), with FEW rows if n fits, else ROWS; and an int64 zero.
        part: Of the work, for this thread.
        parts: Into which it is divided; all of them have to be called.

    Returns:
        Of part 0, log-probabilities, (n, 16); rows with fewer choices end in zeros.
    """
    n, width = inputs.shape
    keys, values, positions = memory
    told, seen, out, fed, gate = work
    w, feed = keys.shape[3], fed.shape[1]
    x = np.zeros((len(out), width), np.float32)
    x[:n] = inputs
    normed, scores = np.zeros_like(x), np.zeros((len(x), keys.shape[2] * TILE), np.float32)
    head, last_head = _mine(part, parts, keys.shape[1], 1)
    mine, my_end = _mine(part, parts, width // TILE, TILE)
    fed_mine, fed_end = _mine(part, parts, feed // TILE, TILE)
    at, a, e, times = 0, 0, 0, 0  # in the weights, the numbers and the epsilons; and how often all were here
    for k in range(len(keys)):
        _called_back(kept[k], head, last_head, paths, lengths)
        _normed(x, numbers, a, epsilons[e], normed)
        for o in range(0, 3 * width, width):
            _layer(normed, weights, at, numbers, a + 2 * width, told, o + head * w, o + last_head * w)
        at += 3 * width * width
        _looked_back(told, kept[k], head, last_head, first, paths, lengths, seen)
        _all_here(gate, parts, times + 1)
        _layer(seen, weights, at, numbers, a + 5 * width, out, mine, my_end)
        at += width * width
        _all_here(gate, parts, times + 2)
        _added(x, out)
        a += 6 * width
        _normed(x, numbers, a, epsilons[e + 1], normed)
        _layer(normed, weights, at, numbers, a + 2 * width, told, head * w, last_head * w)
        at += width * width
        _looked_up(told, n, keys[k], values[k], positions, head, last_head, scores, seen)
        _all_here(gate, parts, times + 3)
        _layer(seen, weights, at, numbers, a + 3 * width, out, mine, my_end)
        at += width * width
        _all_here(gate, parts, times + 4)
        _added(x, out)
        a += 4 * width
        _normed(x, numbers, a, epsilons[e + 2], normed)
        _layer(normed, weights, at, numbers, a + 2 * width, fed, fed_mine, fed_end)
        for r in range(len(x)):
            for i in range(fed_mine, fed_end):
                fed[r, i] = max(fed[r, i], np.float32(0))
        at += width * feed
        _all_here(gate, parts, times + 5)
        _layer(fed, weights, at, numbers, a + 2 * width + feed, out, mine, my_end)
        at += feed * width
        _all_here(gate, parts, times + 6)
        _added(x, out)
        a += 3 * width + feed
        e += 3
        times += 6
    _normed(x, numbers, a, epsilons[e], normed)
    choices, head_weights, head_biases = heads
    found = np.zeros((n, head_biases.shape[1]))
    for r in range(n if part == 0 else 0):
        k = lengths[r] - 1
        _chosen(normed[r], choices[k], head_weights[k], head_biases[k], found[r])
    return found


@functools.cache
def keep() -> None:
    """Have what is compiled kept on disk from now on, where there is somewhere to keep it."""
    for function in (interleaved, tell, read):
        with contextlib.suppress(RuntimeError):  # numba finds no folder that it may write
            function.enable_caching()
