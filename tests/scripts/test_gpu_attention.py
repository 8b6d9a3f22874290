"""What scripts/gpu compares kernels and answers with, checked without a GPU."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scripts.gpu.agreement import TOLERANCE, Greedy, compare, cosine, summary
from scripts.gpu.attention import CASES, PAGE, Case, make_inputs, reference

SMALL = Case(3, 4, 2, 64, (0, 255, 300))


def test_reference_is_attention_over_the_row_of_tokens() -> None:
    """Each new token attends to all before it: written out token by token and head by head."""
    inputs, before = make_inputs(SMALL), make_inputs(SMALL)
    out = reference(inputs)
    for row, length in enumerate(SMALL.lengths):
        pages = before.table[row]
        for head in range(SMALL.heads):
            group = head // 2
            keys = [before.k_cache[pages[n // PAGE], n % PAGE, group] for n in range(length)]
            values = [before.v_cache[pages[n // PAGE], n % PAGE, group] for n in range(length)]
            for new in range(SMALL.new):
                keys.append(before.k[row, new, group])
                values.append(before.v[row, new, group])
                scores = [float(before.q[row, new, head] @ key) / math.sqrt(64) for key in keys]
                shares = np.exp(np.array(scores) - max(scores))
                expected = (shares / shares.sum()) @ np.array(values)
                assert np.allclose(out[row, new, head], expected, atol=1e-5)


def test_reference_appends_in_place_and_touches_nothing_else() -> None:
    """New keys are on the row's pages, across a page's border, and no other place has changed."""
    inputs, before = make_inputs(SMALL), make_inputs(SMALL)
    reference(inputs)
    changed = (inputs.k_cache != before.k_cache).any(axis=(2, 3))
    assert changed.sum() == SMALL.new * len(SMALL.lengths)
    page, after = inputs.table[1][0], inputs.table[1][1]
    assert np.array_equal(inputs.k_cache[page, 255], inputs.k[1, 0])
    assert np.array_equal(inputs.k_cache[after, 0], inputs.k[1, 1])


def test_rows_have_pages_of_their_own_in_no_order() -> None:
    """No page is shared, and the tables are shuffled: a kernel that ignores them is found out."""
    inputs = make_inputs(CASES[0])
    pages = inputs.table.flatten().tolist()
    assert len(set(pages)) == len(pages) < len(inputs.k_cache)
    assert pages != sorted(pages)


def test_cases_cover_decoding_prefill_borders_and_both_head_sizes() -> None:
    """One token, a few, more than a page; a row that crosses a border; 64 and 128."""
    assert {case.new for case in CASES} == {1, 5, 300}
    assert {case.head for case in CASES} == {64, 128}
    assert any(n % PAGE + case.new > PAGE for case in CASES for n in case.lengths)


def greedy(*rows: tuple[float, ...]) -> Greedy:
    """An answer whose tokens are the best of each row."""
    logits = np.array(rows, np.float32)
    return Greedy(tuple(int(row.argmax()) for row in logits), logits)


BASE = ((9.0, 1.0, 0.0, -3.0), (0.0, 5.001, 5.0, -4.0), (1.0, 0.0, 8.0, 2.0))


def test_equal_answers_agree() -> None:
    """The same tokens and logits: no parting, no difference."""
    verdict = compare(greedy(*BASE), greedy(*BASE))
    assert (verdict.same, verdict.difference, verdict.gap) == (3, 0.0, None)
    assert verdict.agrees


def test_parting_at_a_near_tie_is_no_fault() -> None:
    """Where two tokens were as good as equal, what comes after is not compared."""
    other = (BASE[0], (0.0, 5.0, 5.001, -4.0), (-7.0, 9.0, 0.0, 1.0))
    verdict = compare(greedy(*BASE), greedy(*other))
    assert verdict.same == 1
    assert verdict.gap is not None and verdict.gap < TOLERANCE
    assert verdict.agrees


@pytest.mark.parametrize(
    "row",
    [
        pytest.param((0.0, 9.0, 1.0, -3.0), id="another token"),
        pytest.param((9.0, 1.0, 3.0, -3.0), id="other logits"),
    ],
)
def test_a_real_difference_is_a_fault(row: tuple[float, ...]) -> None:
    """Another token without a tie, or the same one from other logits."""
    assert not compare(greedy(*BASE), greedy(row, *BASE[1:])).agrees


def test_summary_tells_the_worst_of_all() -> None:
    """Figures of a report: the shortest agreement and the largest difference."""
    other = (BASE[0], (0.0, 5.0, 5.001, -4.0), BASE[2])
    figures = summary(
        [compare(greedy(*BASE), greedy(*BASE)), compare(greedy(*BASE), greedy(*other))]
    )
    assert figures["answers"] == 2
    assert figures["parted_at_near_ties"] == 1
    assert figures["fewest_same_tokens"] == 1


def test_cosine_tells_directions_apart() -> None:
    """1 for the same direction at any length, 0 for a right angle."""
    one = np.array([1.0, 0.0], np.float32)
    assert cosine(one, one * 3) == pytest.approx(1)
    assert cosine(one, np.array([0.0, 2.0], np.float32)) == pytest.approx(0)
