"""What the bag benchmarks share: the data sets, the cache, the venv of peers, and timing a process.

Standard library only. Nothing is ever written into the repository or into the data folder.
"""
import gzip
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PINNED = ["numpy==2.4.6", "scipy==1.17.1", "scikit-learn==1.9.1"]
VOWPAL_WABBIT = "vowpalwabbit==9.11.9"
FASTTEXT = "fasttext==0.9.3"


def data_folder():
    """The data sets' folder, or the reason to skip on standard output and the end of the program."""
    folder = os.environ.get("MERIDIAN_BENCH_DATA") or os.path.join(ROOT, "..", "shared", "data")
    if not os.path.isdir(os.path.join(folder, "banking77")):
        print("skipped: no data sets in %s; set MERIDIAN_BENCH_DATA to their folder" % folder)
        sys.exit(0)
    return os.path.realpath(folder)


def trainer():
    """The program under test: BIN, or the release build's bin folder."""
    folder = os.environ.get("BIN") or os.path.join(ROOT, "build", "release", "bin")
    program = os.path.join(folder, "bag_train")
    if not os.access(program, os.X_OK):
        sys.exit("no %s: cmake --preset release && ninja -C build/release bag_train" % program)
    return program


def cache_folder(chosen=None):
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = os.path.abspath(chosen or os.path.join(base, "meridian-bench"))
    os.makedirs(folder, exist_ok=True)
    return folder


def markets(data, name):
    folder = os.path.join(data, name)
    return sorted(m for m in os.listdir(folder) if os.path.isdir(os.path.join(folder, m)))


def split_path(data, name, market, split):
    """The file of a split, plain or compressed; None where the set has no such split."""
    for suffix in (".jsonl", ".jsonl.gz"):
        path = os.path.join(data, name, market, split + suffix)
        if os.path.exists(path):
            return path
    return None


def read_samples(path):
    """[(text, label)]; line breaks inside a text become spaces."""
    with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as f:
        rows = [json.loads(line) for line in f]
    return [(" ".join(row["text"].split()), row["label"]) for row in rows]


def write_jsonl(path, samples):
    with open(path + ".part", "w", encoding="utf-8") as f:
        for text, label in samples:
            f.write(json.dumps({"text": text, "label": label}, ensure_ascii=False) + "\n")
    os.replace(path + ".part", path)


def shuffled(samples, seed=1):
    """fastText and Vowpal Wabbit learn in the order of the file; a sorted one would cripple them."""
    samples = list(samples)
    random.Random(seed).shuffle(samples)
    return samples


def file_hash(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()[:16]


# Linux counts the size of the process that forks as part of the child's peak, so a small one does that.
RUN = """import os, sys, time
start = time.monotonic()
child = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(child, 0)
wall = time.monotonic() - start
os.write(int(sys.argv[1]), ("%f %f %d %d" % (wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss,
                                             os.waitstatus_to_exitcode(status))).encode())
"""


def run_measured(command, threads, cwd=None):
    """Runs a command on that many cores. {wall, cpu, mb, code, out, err}; mb is the peak resident set.

    Below about 9 MB, the size of the process that starts it, the peak cannot be told.
    """
    env = dict(os.environ)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        env[name] = str(threads)
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))[:threads]))
    result, to_result = os.pipe()
    run = subprocess.run(["taskset", "-c", cores, sys.executable, "-I", "-S", "-c", RUN, str(to_result)] + command,
                         env=env, cwd=cwd, pass_fds=[to_result], capture_output=True, check=False)
    os.close(to_result)
    with os.fdopen(result) as f:
        wall, cpu, kb, code = f.read().split()
    return {"wall": float(wall), "cpu": float(cpu), "mb": int(kb) / 1024, "code": int(code),
            "out": run.stdout.decode(), "err": run.stderr.decode()[-2000:]}


def key_values(line):
    """{key: value} of a line of key=value pairs, as bag_train prints."""
    return dict(word.split("=", 1) for word in line.split() if "=" in word)


def machine():
    model = "unknown CPU"
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return "%s, %d cores, Linux %s" % (model, os.cpu_count(), os.uname().release)


# --- the peers ------------------------------------------------------------------------------------


def venv_python(cache):
    """The Python of a venv with the pinned peers; made at the first call (a few minutes)."""
    folder = os.path.join(cache, "venv")
    python = os.path.join(folder, "bin", "python")
    mark = os.path.join(folder, "complete")
    wanted = "\n".join(PINNED + [VOWPAL_WABBIT])
    if os.path.exists(mark) and open(mark, encoding="utf-8").read().startswith(wanted):
        return python
    print("making a venv with %s" % ", ".join(PINNED), file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run(pip + PINNED, check=True)
    vw = subprocess.run(pip + [VOWPAL_WABBIT], check=False).returncode == 0
    with open(mark, "w", encoding="utf-8") as f:
        f.write(wanted + "\nvowpalwabbit %s\n" % ("installed" if vw else "not to be had"))
    return python


def has_vowpal_wabbit(cache):
    with open(os.path.join(cache, "venv", "complete"), encoding="utf-8") as f:
        return f.read().endswith("installed\n")


def fasttext_program(cache):
    """fastText's own command-line program, built from its PyPI source with its Makefile's flags."""
    program = os.path.join(cache, "fasttext")
    if os.access(program, os.X_OK):
        return program
    print("building %s" % FASTTEXT, file=sys.stderr)
    source = os.path.join(cache, "fasttext-source")
    shutil.rmtree(source, ignore_errors=True)
    pip = [venv_python(cache), "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps",
           "--no-binary", ":all:", "-d", source, FASTTEXT]
    subprocess.run(pip, check=True)
    archive = os.path.join(source, os.listdir(source)[0])
    shutil.unpack_archive(archive, source)
    folder = os.path.join(archive[:-len(".tar.gz")], "src")
    files = [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.endswith(".cc")]
    subprocess.run(["g++", "-pthread", "-std=c++17", "-march=native", "-O3", "-funroll-loops", "-DNDEBUG"]
                   + files + ["-o", program + ".part"], check=True)
    os.replace(program + ".part", program)
    return program
