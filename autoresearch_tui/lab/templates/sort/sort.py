"""Sorts a list of integers, smallest first. Yours to change: keep `sort(numbers)` and make it faster.

A merge sort from the bottom up: runs of BLOCK numbers are sorted by insertion, then merged two by two.
"""

from bisect import bisect_right

BLOCK = 64  # length of the runs that are sorted by insertion
BISECT_SEARCH = False  # find the place for the next number of a run by halving, not by walking
SKIP_SORTED = False  # leave two neighbouring runs alone where they are in order already


def sort(numbers):
    """A new list with the same numbers in ascending order."""
    runs = [insert_all(numbers[start : start + BLOCK]) for start in range(0, len(numbers), BLOCK)]
    while len(runs) > 1:
        pairs = zip(runs[::2], runs[1::2], strict=False)
        merged = [merge(left, right) for left, right in pairs]
        runs = merged + runs[len(merged) * 2 :]
    return runs[0] if runs else []


def insert_all(run):
    """The run in order, by insertion."""
    done = []
    for number in run:
        if BISECT_SEARCH:
            done.insert(bisect_right(done, number), number)
            continue
        at = len(done)
        done.append(number)
        while at > 0 and done[at - 1] > number:
            done[at] = done[at - 1]
            at -= 1
        done[at] = number
    return done


def merge(left, right):
    """Two sorted lists as one."""
    if SKIP_SORTED and left[-1] <= right[0]:
        return left + right
    merged = []
    i = j = 0
    while i < len(left) and j < len(right):
        if left[i] <= right[j]:
            merged.append(left[i])
            i += 1
        else:
            merged.append(right[j])
            j += 1
    return merged + left[i:] + right[j:]
