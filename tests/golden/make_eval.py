#!/usr/bin/env python3
"""Writes tests/golden/eval.txt: what scikit-learn, SciPy and statsmodels answer.

    python3 -m venv VENV && VENV/bin/pip install scikit-learn scipy statsmodels
    VENV/bin/python tests/golden/make_eval.py > tests/golden/eval.txt

Needs scikit-learn >= 1.7 (brier_score_loss of many classes). The format is described in
tests/golden/README.md. Everything is drawn from fixed seeds, so a second run gives the same file.
"""
import re
import sys
import warnings

import numpy as np
import scipy
import sklearn
import statsmodels
from scipy.stats import binom
from sklearn.metrics import (
    accuracy_score, brier_score_loss, classification_report, confusion_matrix, log_loss,
    precision_recall_fscore_support,
)
from statsmodels.stats.contingency_tables import mcnemar

warnings.simplefilter("ignore")
ZERO = {"0": 0, "1": 1, "nan": np.nan}


def put(key, *values):
    print(key, *[f"{v:.17g}" if isinstance(v, float) else v for v in values])


def put_averages(true, pred, labels, zero):
    for kind in ("micro", "macro", "weighted"):
        p, r, f, _ = precision_recall_fscore_support(
            true, pred, labels=labels, average=kind, zero_division=zero)
        put(kind, float(p), float(r), float(f))


def put_rows(names, true, pred, labels, zero):
    shown = labels if labels is not None else sorted(set(true) | set(pred))
    p, r, f, s = precision_recall_fscore_support(true, pred, labels=shown, zero_division=zero)
    for i, label in enumerate(shown):
        put("row", names.index(label), float(p[i]), float(r[i]), float(f[i]), int(s[i]))


def put_cells(names, true, pred):
    counts = confusion_matrix(true, pred, labels=names)
    for t, p in zip(*np.nonzero(counts)):
        put("cell", t, p, counts[t, p])


def ece(table, truth_ids, bins=15):
    confidence, answer = table.max(axis=1), table.argmax(axis=1)
    edges = np.arange(bins + 1) / bins
    at = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    total = 0.0
    for b in range(bins):
        inside = at == b
        if inside.any():
            right = (answer[inside] == truth_ids[inside]).mean()
            total += inside.mean() * abs(right - confidence[inside].mean())
    return float(total)


def put_probabilities(names, true, parts, scale):
    """parts: whole numbers that sum to scale in each row; p = part / scale on both sides."""
    table = parts / float(scale)
    ids = np.array([names.index(t) for t in true])
    put("scale", scale)
    for row in parts:
        put("proba", *row)
    put("log_loss", float(log_loss(true, table, labels=names)))
    put("log_loss_float", float(log_loss(true, table.astype(np.float32), labels=names)))
    put("brier", float(brier_score_loss(true, table, labels=names, scale_by_half=False)))
    put("ece", ece(table, ids))


def case(name, names, true, pred, labels=None, zero="0", digits=2, parts=None, scale=1000):
    true, pred = list(true), list(pred)
    assert names == sorted(names), "ids must be in scikit-learn's order"
    put("case", name)
    for n in names:
        put("name", n)
    put("true", *[names.index(t) for t in true])
    put("pred", *[names.index(p) for p in pred])
    if labels is not None:
        put("labels", *[names.index(n) for n in labels])
    put("zero", zero)
    put("digits", digits)
    put("accuracy", float(accuracy_score(true, pred)))
    put_averages(true, pred, labels, ZERO[zero])
    put_rows(names, true, pred, labels, ZERO[zero])
    put_cells(names, true, pred)
    if parts is not None:
        put_probabilities(names, true, parts, scale)
    text = classification_report(true, pred, labels=labels, digits=digits,
                                 zero_division=ZERO[zero])
    nothing_right = not any(t == p for t, p in zip(true, pred))
    for line in text.split("\n")[:-1]:
        # Without a single right answer scikit-learn's supports turn into floats and print as
        # "2.0"; ours are counts and stay "2".
        print("|" + (re.sub(r"  (\d+)\.0$", r"    \1", line) if nothing_right else line))
    print("end")


def random_case(name, seed, n, k, skill, **more):
    """k classes of uneven size, answers right with probability skill, random probabilities."""
    rng = np.random.default_rng(seed)
    names = [f"intent_{i:02d}" for i in range(k)]
    size = rng.dirichlet(np.full(k, 2.0))
    true = rng.choice(k, n, p=size)
    parts = np.array([rng.multinomial(1000, rng.dirichlet(np.full(k, 0.3))) for _ in range(n)])
    for i in np.flatnonzero(rng.random(n) < skill):
        best = parts[i].argmax()
        parts[i][[best, true[i]]] = parts[i][[true[i], best]]
    pred = parts.argmax(axis=1)
    case(name, names, [names[t] for t in true], [names[p] for p in pred], parts=parts, **more)


def chosen_cases():
    abc = ["a", "b", "c"]
    case("documentation example", abc, "abccc", "aaccb")
    for zero in ZERO:
        case(f"absent from predictions, zero {zero}", abc, "aabbcc", "aabbab", zero=zero)
        case(f"absent from truth, zero {zero}", abc, "aabb", "aacb", zero=zero)
        case(f"nothing right, zero {zero}", abc, "aab", "bca", zero=zero)
        case(f"label never seen, zero {zero}", abc + ["d"], "aabbc", "aabcc",
             labels=["a", "b", "c", "d"], zero=zero)
        case(f"only labels never seen, zero {zero}", abc + ["d"], "aab", "aba", labels=["c", "d"],
             zero=zero)
    case("binary", ["no", "yes"], ["no", "yes", "yes", "no", "yes", "no", "no"],
         ["no", "yes", "no", "no", "yes", "yes", "no"],
         parts=np.array([[9, 1], [2, 8], [6, 4], [10, 0], [0, 10], [5, 5], [7, 3]]), scale=10)
    case("certain and wrong", ["no", "yes"], ["no", "yes", "no"], ["yes", "yes", "no"],
         parts=np.array([[0, 1], [0, 1], [1, 0]]), scale=1)
    case("one class", ["only"], ["only"] * 3, ["only"] * 3)
    case("one sample right", ["x", "y"], ["x"], ["x"])
    case("one sample wrong", ["x", "y"], ["x"], ["y"])
    case("subset of labels", abc, "abccaab", "abcacbb", labels=["b", "c"])
    case("labels in another order", abc, "abccaab", "abcacbb", labels=["c", "a", "b"])
    case("more labels than occur", abc + ["d"], "abccaab", "abcacbb", labels=list("abcd"))
    case("four digits", abc, "abccaab", "abcacbb", digits=4)
    case("no digits", abc, "abccaab", "abcacbb", digits=0)
    case("fifteen digits", abc, "abccaab", "abcacbb", digits=15)
    case("long and wide names", ["a_very_long_label_of_a_class", "größe_der_lieferung", "返品"],
         ["größe_der_lieferung", "返品", "a_very_long_label_of_a_class", "返品"],
         ["größe_der_lieferung", "返品", "返品", "返品"])
    eighths = ["a"] * 8 + ["b"] * 8
    case("halves round to even", ["a", "b"], eighths, ["a"] * 5 + ["b"] * 3 + ["b"] * 8)


def put_differences():
    for b, c in [(0, 0), (0, 1), (1, 0), (1, 1), (5, 0), (3, 7), (10, 2), (8, 8), (13, 14),
                 (25, 40), (121, 59), (400, 500), (5000, 5200), (900, 0)]:
        p = mcnemar([[0, b], [c, 0]], exact=True).pvalue
        put("mcnemar", b, c, float(min(p, 1.0)), float(binom.cdf(c, b + c, 0.5)))


def macro_f1(true, pred, k):
    support, predicted = np.bincount(true, minlength=k), np.bincount(pred, minlength=k)
    hits = np.bincount(true[true == pred], minlength=k)
    seen = support > 0
    return (2 * hits[seen] / (support + predicted)[seen]).mean()


def put_bootstrap(seed=5, n=300, k=3, resamples=20000):
    """A numpy bootstrap of the plain kind; ours must agree up to the noise of resampling."""
    rng = np.random.default_rng(seed)
    true = rng.choice(k, n, p=[0.5, 0.3, 0.2])
    old = np.where(rng.random(n) < 0.75, true, rng.choice(k, n))
    new = np.where(rng.random(n) < 0.5, old, np.where(rng.random(n) < 0.85, true, rng.choice(k, n)))
    scores = np.empty((resamples, 4))
    for i in range(resamples):
        at = rng.integers(0, n, n)
        t, a, b = true[at], old[at], new[at]
        fa, fb = macro_f1(t, a, k), macro_f1(t, b, k)
        scores[i] = (t == a).mean(), fa, (t == b).mean() - (t == a).mean(), fb - fa
    put("paired", k)
    put("true", *true)
    put("pred", *old)
    put("other", *new)
    low, high = np.percentile(scores, [2.5, 97.5], axis=0)
    for i, name in enumerate(["accuracy", "macro_f1", "accuracy_difference",
                              "macro_f1_difference"]):
        put("interval", name, float(low[i]), float(high[i]))
    put("scores", float(accuracy_score(true, old)), float(macro_f1(true, old, k)),
        float(accuracy_score(true, new)), float(macro_f1(true, new, k)))
    print("end")


def main():
    print(f"# scikit-learn {sklearn.__version__}, SciPy {scipy.__version__}, "
          f"statsmodels {statsmodels.__version__}; made by make_eval.py", file=sys.stdout)
    chosen_cases()
    random_case("ten classes", 1, 120, 10, 0.6)
    random_case("sixty classes", 2, 150, 60, 0.7)
    random_case("sixty classes, zero nan", 3, 40, 60, 0.3, zero="nan")
    put_differences()
    put_bootstrap()


if __name__ == "__main__":
    main()
