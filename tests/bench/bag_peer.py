"""One peer of bag_speed, inside the venv: trains and saves a model, or scores a saved one.

    bag_peer.py train 'SETTING AS JSON' TRAIN MODEL     prints {"s": wall seconds, "cpu": processor seconds}
    bag_peer.py score 'SETTING AS JSON' TEST MODEL      prints {"accuracy": share}

The clock starts with the reading of the file and ends when the model is saved: start-up of Python and
imports are not counted against the peer. TRAIN and TEST are lines "label<tab>text" for scikit-learn and
Vowpal Wabbit's own format for that.
"""
import json
import pickle
import sys
import time


def read_lines(path):
    with open(path, encoding="utf-8") as f:
        pairs = [line.split("\t", 1) for line in f.read().split("\n") if line]
    return [text for _, text in pairs], [label for label, _ in pairs]


# --- scikit-learn ---------------------------------------------------------------------------------


def make_vectorizer(setting):
    import numpy
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
    from sklearn.pipeline import make_union
    # liblinear computes in double precision and would copy anything else
    dtype = numpy.float64 if setting["model"].startswith("svc") else numpy.float32
    blocks = {"w1": ("word", (1, 1)), "w12": ("word", (1, 2)), "c24": ("char_wb", (2, 4)),
              "c25": ("char", (2, 5)), "c15": ("char", (1, 5))}
    parts = []
    for name in setting["features"].split("+"):
        analyzer, span = blocks[name]
        if setting.get("hash"):
            parts.append(HashingVectorizer(analyzer=analyzer, ngram_range=span, dtype=dtype, alternate_sign=False,
                                           n_features=1 << setting["hash"]))
        else:
            parts.append(TfidfVectorizer(analyzer=analyzer, ngram_range=span, dtype=dtype, sublinear_tf=True,
                                         min_df=setting.get("min_df", 1)))
    return parts[0] if len(parts) == 1 else make_union(*parts)


def make_classifier(setting, threads):
    from sklearn.linear_model import LogisticRegression, SGDClassifier
    from sklearn.svm import LinearSVC
    kind, C = setting["model"], setting.get("C", 1)
    if kind in ("sgd-log", "sgd-hinge"):
        loss = {"sgd-log": "log_loss", "sgd-hinge": "hinge"}[kind]
        return SGDClassifier(loss=loss, alpha=setting["alpha"], max_iter=setting["epochs"], tol=None,
                             average=setting.get("average", False), random_state=1, n_jobs=threads)
    if kind == "svc":
        return LinearSVC(C=C, random_state=1)
    solver = {"lr-lbfgs": "lbfgs", "lr-saga": "saga"}[kind]
    return LogisticRegression(C=C, solver=solver, max_iter=setting["epochs"], random_state=1)


def train_sklearn(setting, path, out, threads):
    vectorizer, classifier = make_vectorizer(setting), make_classifier(setting, threads)
    start = time.monotonic()
    texts, labels = read_lines(path)
    classifier.fit(vectorizer.fit_transform(texts), labels)
    with open(out, "wb") as f:
        pickle.dump((vectorizer, classifier), f, protocol=5)
    return time.monotonic() - start


def score_sklearn(path, out):
    texts, labels = read_lines(path)
    with open(out, "rb") as f:
        vectorizer, classifier = pickle.load(f)
    guess = []
    for at in range(0, len(texts), 5000):
        guess.extend(classifier.predict(vectorizer.transform(texts[at:at + 5000])))
    return sum(a == b for a, b in zip(guess, labels)) / len(labels)


# --- Vowpal Wabbit --------------------------------------------------------------------------------


def train_vw(setting, path, out):
    import vowpalwabbit
    passes = setting["epochs"]
    args = ["-d", path, "-f", out, "--quiet", "--oaa", str(setting["classes"]), "-b", str(setting["bits"]),
            "--loss_function", setting["loss"], "-l", str(setting["rate"])] + setting["ngram"]
    if passes > 1:
        args += ["--cache_file", out + ".cache", "-k", "--passes", str(passes), "--holdout_off"]
    start = time.monotonic()
    vowpalwabbit.Workspace(arg_list=args).finish()
    return time.monotonic() - start


def score_vw(path, out):
    import vowpalwabbit
    vowpalwabbit.Workspace(arg_list=["-d", path, "-t", "-i", out, "--quiet", "-p", out + ".guess"]).finish()
    with open(path, encoding="utf-8") as f:
        truth = [line.split(" ", 1)[0] for line in f]
    with open(out + ".guess", encoding="utf-8") as f:
        guess = [line.split()[0].split(".")[0] for line in f]
    return sum(a == b for a, b in zip(guess, truth)) / len(truth)


def main():
    mode, setting, path, out = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3], sys.argv[4]
    threads = int(sys.argv[5]) if len(sys.argv) > 5 else 1
    if mode == "train":
        if setting["tool"] == "vw":
            import vowpalwabbit  # noqa: F401
        else:
            # imported before the clock starts
            import sklearn.feature_extraction.text  # noqa: F401
            import sklearn.linear_model  # noqa: F401
            import sklearn.svm  # noqa: F401
        cpu = time.process_time()
        seconds = train_vw(setting, path, out) if setting["tool"] == "vw" else train_sklearn(setting, path, out,
                                                                                             threads)
        print(json.dumps({"s": seconds, "cpu": time.process_time() - cpu}))
    else:
        print(json.dumps({"accuracy": score_vw(path, out) if setting["tool"] == "vw" else score_sklearn(path, out)}))


if __name__ == "__main__":
    main()
