"""Cron lines in every zone against Python's zoneinfo, then whole years of firing on a clock of our own.

The oracle shares with the SQL only the definition: a local time that does not exist counts at the first
instant after the gap (or not), one that comes twice counts first, second or both. It asks PEP 495's fold
for the offsets and bisects for the end of a gap; the SQL compares spans of even clocks. Both read the
operating system's zone tables.
"""
import argparse
import datetime as dt
import fnmatch
import hashlib
import pathlib
import subprocess
import sys
import time
import zoneinfo

UTC = dt.timezone.utc
MINUTE = dt.timedelta(minutes=1)
# name: minutes, hours, whether the day counts
LINES = {
    "30 2 * * *": ((30,), (2,), lambda d: True),
    "0 0 * * *": ((0,), (0,), lambda d: True),
    "0 3 * * *": ((0,), (3,), lambda d: True),
    "15,45 1 * * sun": ((15, 45), (1,), lambda d: d.weekday() == 6),
    "59 23 1,28 * *": ((59,), (23,), lambda d: d.day in (1, 28)),
}
DENSE = {"*/15 * * * *": ((0, 15, 30, 45), tuple(range(24)), lambda d: True)}
POLICIES = [("next", "first"), ("skip", "second"), ("next", "both")]
UNUSUAL = """Australia/Lord_Howe Africa/Cairo Asia/Beirut America/Asuncion Antarctica/Troll Pacific/Apia
    Africa/Casablanca Pacific/Chatham America/Havana America/Nuuk Europe/Berlin America/New_York""".split()


def ask(sql):
    out = subprocess.run(["psql", "-qXAt", "-v", "ON_ERROR_STOP=1", "-c", sql], check=True,
                         stdout=subprocess.PIPE, text=True).stdout
    return out.rstrip("\n").split("\n") if out.strip() else []


def gap_end(zone, low, high):
    """The first minute in (low, high] with another offset than low: where the clocks jump."""
    before = low.astimezone(zone).utcoffset()
    while high - low > MINUTE:
        middle = low + (high - low) // 2
        middle -= dt.timedelta(seconds=middle.second, microseconds=middle.microsecond)
        if middle <= low:
            middle = low + MINUTE
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high


def instants(zone, local):
    """(plain or gap or first or second, instant) of a local time."""
    early = local.replace(tzinfo=zone, fold=0).utcoffset()
    late = local.replace(tzinfo=zone, fold=1).utcoffset()
    stamp = local.replace(tzinfo=UTC)
    if early == late:
        return [("plain", stamp - early)]
    if early > late:
        return [("first", stamp - early), ("second", stamp - late)]
    return [("gap", gap_end(zone, stamp - late, stamp - early))]


def expected(zone, line, first, last, gap, overlap):
    minutes, hours, counts = line
    wanted = {"plain"} | ({"gap"} if gap == "next" else set())
    wanted |= {"first", "second"} if overlap == "both" else {overlap}
    found = set()
    day = first
    while day <= last:
        if counts(day):
            for hour in hours:
                for minute in minutes:
                    for mark, at in instants(zone, dt.datetime(day.year, day.month, day.day, hour, minute)):
                        if mark in wanted:
                            found.add(int(at.timestamp()))
        day += dt.timedelta(days=1)
    return sorted(found)


def produced(name, cron, first, last, gap, overlap):
    return [int(x) for x in ask(
        f"SELECT extract(epoch FROM d.at)::bigint FROM meridian.cron_days(meridian.cron_parse('{cron}'), '{name}',"
        f" '{first}', '{last}', '{gap}', '{overlap}') d WHERE d.fires ORDER BY d.at")]


def changes(zone, first, last):
    """Local dates on which the zone's offset changes."""
    at = dt.datetime(first.year, first.month, first.day, tzinfo=UTC)
    end = dt.datetime(last.year, last.month, last.day, tzinfo=UTC)
    before = at.astimezone(zone).utcoffset()
    while at < end:
        at += dt.timedelta(hours=1)
        now = at.astimezone(zone).utcoffset()
        if now != before:
            yield at.astimezone(zone).date()
        before = now


def differs(name, cron, line, first, last, policy):
    want = expected(zoneinfo.ZoneInfo(name), line, first, last, *policy)
    got = produced(name, cron, first, last, *policy)
    if want == got:
        return len(want)
    odd = sorted(set(want) ^ set(got))[:5]
    sys.exit(f"FAILED {name} \"{cron}\" gap {policy[0]}, overlap {policy[1]}, {first} to {last}: "
             + ", ".join(f"{dt.datetime.fromtimestamp(o, UTC)} is {'lacking' if o in want else 'too much'}" for o in odd))


def walk_zone(name, turn, first, last):
    """One policy a line, another for each zone that follows; all of them where clocks are unusual."""
    firings = 0
    for i, (cron, line) in enumerate(LINES.items()):
        for policy in POLICIES if name in UNUSUAL else [POLICIES[(turn + i) % 3]]:
            firings += differs(name, cron, line, first, last, policy)
    for cron, line in DENSE.items():
        for day in changes(zoneinfo.ZoneInfo(name), first, last):
            near = (max(first, day - dt.timedelta(2)), min(last, day + dt.timedelta(2)))
            firings += differs(name, cron, line, *near, POLICIES[turn % 3])
    return firings


def representatives(names):
    """Names with the very same table are one zone: the first of each, and how many it stands for."""
    seen = {}
    for name in sorted(names, key=lambda n: (n not in UNUSUAL, n)):
        path = next((pathlib.Path(p) / name for p in zoneinfo.TZPATH if (pathlib.Path(p) / name).is_file()), None)
        if path is None:
            sys.exit(f"FAILED {name}: PostgreSQL has it, the operating system has not")
        seen.setdefault(hashlib.sha256(path.read_bytes()).digest(), []).append(name)
    return [(group[0], len(group)) for group in seen.values()]


def fire_years(names, first, last):
    """Whole years of firing, a market a zone, each turn when the next is due; what fired against the oracle."""
    ask("SELECT meridian.task_set('t', '{}', 'bench'); SELECT meridian.leader_acquire('bench', 86400000);")
    for i, name in enumerate(names):
        ask(f"SELECT meridian.market_set('m-{i}', 'eu', '{name}', 'bench')")
    # The day before is left to the zones in which it is the first already.
    start = dt.datetime(first.year, first.month, first.day, tzinfo=UTC) - dt.timedelta(days=1)
    end = dt.datetime(last.year, last.month, last.day, tzinfo=UTC)
    ask(f"SELECT meridian.schedule_set('n', '30 2 * * *', 'market', 't', NULL, NULL, NULL, NULL, 'bench',"
        f" p_running => 'allow', p_now => '{start.isoformat()}')")
    ask("CREATE PROCEDURE public.years(p_end timestamptz) LANGUAGE plpgsql AS $$ DECLARE v_now timestamptz; BEGIN LOOP"
        " SELECT min(due_at) INTO v_now FROM meridian.schedule_zone; EXIT WHEN v_now > p_end;"
        " PERFORM meridian.schedule_fire(1, v_now); COMMIT; END LOOP; END $$;")
    ask(f"CALL public.years('{end.isoformat()}')")
    firings = 0
    for name in names:
        got = [int(x) for x in ask("SELECT extract(epoch FROM nominal_at)::bigint FROM meridian.firing WHERE outcome ="
                                   f" 'fired' AND timezone = '{name}' AND fired_at = nominal_at ORDER BY 1")]
        want = [x for x in expected(zoneinfo.ZoneInfo(name), LINES["30 2 * * *"], first - dt.timedelta(days=2),
                                    last + dt.timedelta(days=1), "next", "first")
                if start.timestamp() < x <= end.timestamp()]
        if got != want:
            sys.exit(f"FAILED firing in {name}: {len(got)} nights, {len(want)} expected; odd {sorted(set(got) ^ set(want))[:5]}")
        firings += len(got)
    strange = ask("SELECT count(*) FROM meridian.firing f WHERE outcome <> 'fired' OR 1 <> (SELECT count(*) FROM"
                  " meridian.job j WHERE j.id = f.job)")[0]
    if strange != "0":
        sys.exit(f"FAILED: {strange} times without exactly one job")
    return firings


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--years", type=int, default=10)
    p.add_argument("--zones", default="*", help="pattern of names")
    p.add_argument("--no-fire", action="store_true", help="only the lines, not the years of firing")
    o = p.parse_args()
    first, last = dt.date(2026, 1, 1), dt.date(2025 + o.years, 12, 31)
    begun = time.monotonic()
    # Those that are refused (CET: an abbreviation to PostgreSQL) cannot be a schedule's.
    ask("CREATE FUNCTION public.may(p text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM meridian.zone_check(p);"
        " RETURN true; EXCEPTION WHEN SQLSTATE 'MR004' THEN RETURN false; END $$")
    names = [n for n in ask("SELECT name FROM pg_timezone_names ORDER BY 1") if fnmatch.fnmatch(n, o.zones)]
    refused = [n for n in names if "/" not in n and ask(f"SELECT public.may('{n}')") == ["f"]]
    names = [n for n in names if n not in refused]
    zones = representatives([n for n in names if not n.startswith(("posix/", "right/")) and n != "localtime"])
    firings = 0
    for turn, (name, _) in enumerate(zones):
        firings += walk_zone(name, turn, first, last)
        if sys.stdout.isatty():
            print(f"\r{turn + 1} of {len(zones)} {name:<40}", end="", flush=True)
    print(f"refused: {' '.join(refused) or 'none'}")
    print(f"{'' if not sys.stdout.isatty() else chr(13)}{sum(n for _, n in zones)} names, {len(zones)} different zones,"
          f" {o.years} years, {len(LINES) + len(DENSE)} lines: {firings} firings as the policies say,"
          f" {time.monotonic() - begun:.0f} s")
    if not o.no_fire:
        begun = time.monotonic()
        fired = fire_years([n for n in UNUSUAL if n in names], first, last)
        print(f"fired {fired} nights over {o.years} years, each once and when it was due, {time.monotonic() - begun:.0f} s")


main()
