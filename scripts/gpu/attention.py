"""Attention over a paged cache: what the kernels must compute, plainly, and whether they do.

ExLlamaV2 makes one call of flash-attn for all its batched work: `flash_attn_with_kvcache`, which
appends the new keys and values to the cache *in place* and attends over all of it. `reference` does
the same in float32, a row at a time, with numpy, so that its own test needs no GPU. The check
shuffles pages, crosses page borders, and takes queries of one token (decode), a few, and more than
a page (prefill).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float32]
Indices = NDArray[np.int32]

PAGE = 256
TOLERANCE = 2e-3
"""Of half precision: values near one, sums of a few hundred."""


@dataclass(frozen=True)
class Case:
    """One call: rows, new tokens a row, heads, size of a head, and what each row has cached."""

    new: int
    heads: int
    kv_heads: int
    head: int
    lengths: tuple[int, ...]

    @property
    def name(self) -> str:
        heads = f"{self.heads}/{self.kv_heads} heads of {self.head}"
        return f"{self.new} new tokens, {heads}, after {list(self.lengths)}"


CASES = tuple(
    Case(new, heads, kv_heads, head, lengths)
    for heads, kv_heads, head in ((32, 8, 64), (32, 8, 128), (8, 8, 128))
    for new, lengths in (
        (1, (0, 17, 255, 256, 1000)),
        (5, (0, 253, 700)),
        (300, (0,)),
        (300, (250,)),
    )
)


@dataclass(frozen=True)
class Inputs:
    """The arrays of a call: q (rows, new, heads, head), k and v (rows, new, kv_heads, head), the
    caches (pages, 256, kv_heads, head), the pages of each row, and its cached tokens."""

    q: Numbers
    k: Numbers
    v: Numbers
    k_cache: Numbers
    v_cache: Numbers
    table: Indices
    lengths: Indices


def make_inputs(case: Case, seed: int = 0) -> Inputs:
    """Random numbers that half precision holds exactly, on pages in random order."""
    random = np.random.default_rng([seed, case.new, case.head, len(case.lengths)])
    rows = len(case.lengths)
    pages_a_row = max(-(-(length + case.new) // PAGE) for length in case.lengths)

    def numbers(*shape: int) -> Numbers:
        return random.standard_normal(shape).astype(np.float16).astype(np.float32)

    cache = (rows * pages_a_row + 1, PAGE, case.kv_heads, case.head)  # one page stays nobody's
    pages = random.permutation(cache[0])[: rows * pages_a_row]
    return Inputs(
        q=numbers(rows, case.new, case.heads, case.head),
        k=numbers(rows, case.new, case.kv_heads, case.head),
        v=numbers(rows, case.new, case.kv_heads, case.head),
        k_cache=numbers(*cache),
        v_cache=numbers(*cache),
        table=pages.reshape(rows, pages_a_row).astype(np.int32),
        lengths=np.array(case.lengths, np.int32),
    )


def reference(inputs: Inputs) -> Numbers:
    """Append in place, then attend: each new token to all before it and to itself.

    Query heads share the keys of their group. Scale: 1/√head.
    """
    rows, new, heads, size = inputs.q.shape
    group = heads // inputs.k.shape[2]
    out = np.empty_like(inputs.q)
    for row in range(rows):
        length, pages = int(inputs.lengths[row]), inputs.table[row]
        for token in range(new):
            page, place = divmod(length + token, PAGE)
            inputs.k_cache[pages[page], place] = inputs.k[row, token]
            inputs.v_cache[pages[page], place] = inputs.v[row, token]
        total = length + new
        keys = inputs.k_cache[pages].reshape(-1, *inputs.k_cache.shape[2:])[:total]
        values = inputs.v_cache[pages].reshape(-1, *inputs.v_cache.shape[2:])[:total]
        later = np.arange(total)[None, :] > length + np.arange(new)[:, None]
        for head in range(heads):
            scores = inputs.q[row, :, head] @ keys[:, head // group].T / math.sqrt(size)
            scores[later] = -np.inf
            shares = np.exp(scores - scores.max(1, keepdims=True))
            shares /= shares.sum(1, keepdims=True)
            out[row, :, head] = shares @ values[:, head // group]
    return out


def compare(kernel: Any, case: Case) -> dict[str, float]:
    """Largest differences of a kernel's output and caches from the reference.

    Args:
        kernel: Called as `flash_attn_with_kvcache` with torch tensors on the GPU.
    """
    import torch

    inputs = make_inputs(case)
    halves = {
        name: torch.from_numpy(getattr(inputs, name)).half().cuda()
        for name in ("q", "k", "v", "k_cache", "v_cache")
    }
    got = kernel(
        **halves,
        cache_seqlens=torch.from_numpy(inputs.lengths).cuda(),
        block_table=torch.from_numpy(inputs.table).cuda(),
        causal=True,
        softmax_scale=1 / math.sqrt(case.head),
    )
    expected = reference(inputs)  # writes into its own caches
    caches = (("k_cache", inputs.k_cache), ("v_cache", inputs.v_cache))
    return {
        "output": _difference(got, expected),
        "cache": max(_difference(halves[name], values) for name, values in caches),
    }


def _difference(got: Any, expected: Numbers) -> float:
    return float(np.abs(got.float().cpu().numpy() - expected).max())
