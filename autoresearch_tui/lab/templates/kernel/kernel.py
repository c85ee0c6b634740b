"""Edit distances between words. Yours to change: keep `distances(words)` and make it faster.

The distance is how many letters have to be put in, left out or replaced to make one word into another. It is found by
filling a table, whose cell (i, j) is the distance between the first i letters of one and the first j of the other.
"""

LAST_ROW_ONLY = False  # hold the row before, not the whole table
TRIM_ENDS = False  # leave out what both words begin and end with
BAND = 0  # fill this many cells beside the diagonal, and twice as many while that is too few; 0: all


def distances(words):
    """How far the first word is from each of the others."""
    return [distance(words[0], other) for other in words[1:]]


def distance(a, b):
    """How far two words are from each other."""
    if TRIM_ENDS:
        a, b = trimmed(a, b)
    if BAND > 0:
        band = max(BAND, abs(len(a) - len(b)))
        while band < max(len(a), len(b)):
            found = in_band(a, b, band)
            if found <= band:
                return found
            band *= 2
    return by_row(a, b) if LAST_ROW_ONLY else by_table(a, b)


def trimmed(a, b):
    """The words without what they begin and end with in common."""
    start = 0
    while start < len(a) and start < len(b) and a[start] == b[start]:
        start += 1
    a, b = a[start:], b[start:]
    end = 0
    while end < len(a) and end < len(b) and a[-1 - end] == b[-1 - end]:
        end += 1
    return a[: len(a) - end], b[: len(b) - end]


def by_table(a, b):
    """The whole table."""
    rows = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i in range(len(a) + 1):
        for j in range(len(b) + 1):
            if i == 0 or j == 0:
                rows[i][j] = i + j
            elif a[i - 1] == b[j - 1]:
                rows[i][j] = rows[i - 1][j - 1]
            else:
                rows[i][j] = 1 + min(rows[i - 1][j], rows[i][j - 1], rows[i - 1][j - 1])
    return rows[len(a)][len(b)]


def by_row(a, b):
    """The same, with one row at a time."""
    above = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        left = i
        row = [left]
        for j, other in enumerate(b, 1):
            left = min(above[j] + 1, left + 1, above[j - 1] + (letter != other))
            row.append(left)
        above = row
    return above[-1]


def in_band(a, b, band):
    """The distance if it is at most `band`, else something larger: the cells further from the diagonal are left out."""
    far = len(a) + len(b)
    above = [j if j <= band else far for j in range(len(b) + 1)]
    for i in range(1, len(a) + 1):
        row = [far] * (len(b) + 1)
        if i <= band:
            row[0] = i
        for j in range(max(1, i - band), min(len(b), i + band) + 1):
            if a[i - 1] == b[j - 1]:
                row[j] = above[j - 1]
            else:
                row[j] = 1 + min(above[j], row[j - 1], above[j - 1])
        above = row
    return above[-1]
