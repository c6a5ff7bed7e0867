# SPDX-License-Identifier: Apache-2.0
"""From the samples of all rounds to the rows of the report. Knows the targets, runs nothing."""

import dataclasses
import statistics

from programs import FOUND, IDLE, IDLE_CLIENTS, LIVE, PROCESSES, VARIANTS, WATCHED, WIDE

TRACKING = "Tracking on: one allocation and its free"
OFF = "Tracking off"
USERS = "In users' terms"
READ = "One open, read and close of a file"
DOCUMENT = "The whole text of a file, with {} devices and {} processes on all of them".format(*WIDE)
SCALE = "The same with many processes on the device"
WATCH = "Events for those who watch files"
IDLING = f"Wake-ups of a daemon with {IDLE_CLIENTS} processes that nobody asks"
WALK = f"Tools that go through the files of {PROCESSES[-1]:,} processes"
FIND = "From the start of a daemon"
TRAFFIC = "Events of the older server's protocol, from four processes"


@dataclasses.dataclass
class Row:
    part: str
    what: str
    unit: str
    value: float  # median over the rounds, as are all figures here
    lowest: float
    highest: float
    baseline: float = None
    baseline_what: str = ""
    ratio: float = None
    target: str = ""
    verdict: str = ""


class Target:
    """A limit on a row's ratio or value, or what would be nice to have."""

    def __init__(self, text, field, holds, otherwise="FAIL"):
        self.text, self.field, self.holds, self.otherwise = text, field, holds, otherwise

    def judge(self, row):
        row.target = self.text
        row.verdict = "PASS" if self.holds(getattr(row, self.field)) else self.otherwise


def at_most(ratio, text=None):
    return Target(text or f"<= {ratio:g}", "ratio", lambda value: value <= ratio)


EVENTS_OF_A_FILE = 20  # in a second, at most: fs/news.h has one in 50 ms
SLOPE = Target("<= 60 ns", "value", lambda value: value <= 60)


def make_row(part, what, unit, values, baseline=None, baseline_what="", ratios=None, target=None):
    """Values, baselines and ratios are lists with one entry for each round."""
    row = Row(part, what, unit, statistics.median(values), min(values), max(values))
    if baseline:
        row.baseline, row.baseline_what = statistics.median(baseline), baseline_what
        ratios = ratios or [value / base for value, base in zip(values, baseline)]
        row.ratio = statistics.median(ratios)
    if target:
        target.judge(row)
    return row


def column(rounds, *keys):
    """The figure under these keys in each round, or nothing if a round lacks it."""
    values = []
    for figures in rounds:
        for key in keys:
            figures = figures.get(key, {})
        if figures == {}:
            return []
        values.append(figures)
    return values


def pair_row(rounds, variant, live, words, target=None):
    name = f"{variant} {live}"
    pairs = column(rounds, name, "pair_ns")
    if not pairs:
        return []
    return [make_row(TRACKING, f"{words}, {live:,} live", "ns", pairs,
                     column(rounds, name, "adds_ns"), "two atomic adds",
                     column(rounds, name, "ratio"), target)]


# What a pair may cost, in pairs of atomic adds.
PAIR_TARGETS = dict(zip(LIVE, (9, 40, 80)))


def tracking_rows(rounds):
    words = {
        "same": "1 thread",
        "anyhow": "1 thread, freed in no order",
        "backwards": "1 thread, all freed from the newest on, and allocated again",
        "past": "1 thread, half of them past the ledger's capacity",
        "moving": "1 thread, each time another address",
        "tagged": "1 thread, with a tag",
        "handles": "1 thread, with handles",
    }
    rows = []
    for variant, text in words.items():
        for live in VARIANTS[variant][1]:
            target = at_most(PAIR_TARGETS[live]) if variant == "same" else None
            rows += pair_row(rounds, variant, live, text, target)
    return rows + cold_rows(rounds) + together_rows(rounds) + socket_rows(rounds)


def cold_rows(rounds):
    """What no table can be faster than, where the caches do not hold it and nobody knows what comes."""
    rows = []
    for live in LIVE[1:]:
        pairs, reads = column(rounds, f"anyhow {live}", "pair_ns"), column(rounds, f"cold {live}", "reads_ns")
        if pairs and reads:
            rows.append(make_row(TRACKING, f"1 thread, freed in no order, {live:,} live", "ns", pairs,
                                 reads, "two cold reads"))
    return rows


def together_rows(rounds):
    """Two threads, against one with as many buffers as each of them has, and against two processes that
    run at once: the rest is the machine's."""
    words = {"ranges": "a range of addresses each", "interleaved": "addresses interleaved"}
    rows = []
    for variant, text in words.items():
        for live in LIVE:
            values = column(rounds, f"{variant} {live}", "pair_ns")
            if not values:
                continue
            what = f"2 threads, {text}, {live:,} live each"
            alone = column(rounds, f"{variant} {live}", "alone_ns")
            apart = column(rounds, f"{variant} {live}", "apart_ns")
            rows += [make_row(TRACKING, what, "ns", values, alone, "1 thread alone",
                              target=at_most(1.3)),
                     make_row(TRACKING, what, "ns", values, apart, "2 processes at once")]
    return rows


def socket_rows(rounds):
    pairs, messages = column(rounds, "same 1000", "pair_ns"), column(rounds, "socket", "pair_ns")
    if not pairs or not messages:
        return []
    return [make_row(TRACKING, "1 thread, 1,000 live", "ns", pairs, messages,
                     "two socket messages", target=at_most(1 / 30, "<= 1/30"))]


def off_rows(rounds):
    added = column(rounds, "off", "added_ns")
    if not added:
        return []
    row = make_row(OFF, "both calls, over an empty loop", "ns", added,
                   target=Target("< 1 ns", "value", lambda value: value < 1))
    row.baseline, row.baseline_what = statistics.median(column(rounds, "off", "empty_ns")), "a turn"
    return [row]


def users_rows(rounds):
    """What the older server promised. Half a pair is one operation."""
    rows = []
    pairs = {name: column(rounds, name, "pair_ns") for name in rounds[0]}
    pairs = {name: values for name, values in pairs.items() if values and name[-1].isdigit()}
    for name, words in worst_and_usual(pairs):
        half = [pair / 2 for pair in pairs[name]]
        rows.append(make_row(USERS, f"added to an allocation, {words}", "us",
                             [ns / 1000 for ns in half], [100] * len(half), "the older server",
                             target=at_most(1)))
        rows.append(make_row(USERS, f"operations a second, {words}", "/s",
                             [1e9 / ns for ns in half], [50_000] * len(half), "the older server",
                             target=Target(">= 1", "ratio", lambda value: value >= 1)))
    return rows


def worst_and_usual(pairs):
    if "same 1000" in pairs:
        yield "same 1000", "1 thread, 1,000 live"
    if pairs:
        yield max(pairs, key=lambda name: statistics.median(pairs[name])), "worst of the above"


def read_row(rounds, way, words, figure, name, baseline_what, target=None):
    values = column(rounds, way, "ttmemd 1", figure)
    baseline = column(rounds, way, name, figure)
    if not values or not baseline:
        return []
    return [make_row(READ, words, "us", values, baseline, baseline_what, target=target)]


def read_rows(rounds):
    minimal = "minimal FUSE"
    words = "device0/dram_used"
    rested = "one read every 3 ms"
    two_cpus = f"{words}, reader and server on two CPUs"
    least = "one that never sleeps"
    return [
        *read_row(rounds, "busy", words, "median_us", "minimal", minimal, at_most(1.1)),
        *read_row(rounds, "busy", f"{words}, 99th percentile", "p99_us", "minimal", minimal),
        *metal_row(rounds),
        *read_row(rounds, "busy", words, "median_us", "sysfs", "a sysfs file"),
        *read_row(rounds, "busy", words, "median_us", "procfs", "a procfs file"),
        *read_row(rounds, "busy", words, "median_us", "awake", least),
        *read_row(rounds, "apart", two_cpus, "median_us", "minimal", minimal),
        *read_row(rounds, "apart", two_cpus, "median_us", "awake", least),
        *read_row(rounds, "crowded", f"{words}, all CPUs busy", "median_us", "minimal", minimal,
                  at_most(1.1)),
        *read_row(rounds, "rested", f"{words}, {rested}", "median_us", "minimal", minimal),
        *read_row(rounds, "rested", f"{words}, {rested}", "median_us", "sysfs", "a sysfs file"),
    ]


def metal_row(rounds):
    values = column(rounds, "busy", "metal", "median_us")
    baseline = column(rounds, "busy", "ttmemd 1", "median_us")
    if not values or not baseline:
        return []
    return [make_row(READ, "device0/dram_used, fed by TT-Metal", "us", values, baseline,
                     "fed by a ledger", target=at_most(1.5))]


def document_rows(rounds):
    values = column(rounds, "documents", "snapshot", "median_us")
    if not values:
        return []
    return [make_row(DOCUMENT, "snapshot.json", "ms", [us / 1000 for us in values],
                     [us / 1000 for us in column(rounds, "documents", "summary", "median_us")],
                     "summary", target=at_most(5))]


def latency_rows(rounds):
    latencies = column(rounds, "latency", "latencies_us")
    if not latencies:
        return []
    words = f"from an allocation to the event, of {sum(map(len, latencies))}"
    return [
        make_row(WATCH, f"{words}, median", "ms", percentiles(latencies, 50),
                 target=Target("wish: <= 0.5 ms", "value", lambda value: value <= 0.5, "missed")),
        make_row(WATCH, f"{words}, 99th percentile", "ms", percentiles(latencies, 99),
                 target=Target("<= 5 ms", "value", lambda value: value <= 5)),
    ]


def percentiles(rounds, percent):
    """Of each round's microseconds, in milliseconds."""
    return [sorted(values)[round((len(values) - 1) * percent / 100)] / 1000 for values in rounds]


def rate_rows(rounds):
    events, seconds = column(rounds, "rate", "events"), column(rounds, "rate", "seconds")
    if not events:
        return []
    rates = [e / s for e, s in zip(events, seconds)]
    most = [WATCHED * EVENTS_OF_A_FILE] * len(rates)
    return [make_row(WATCH, f"events a second, {WATCHED} files that change all the time", "/s",
                     rates, most, "20 for each file")]


def idle_rows(rounds):
    rows = []
    for name in IDLE:
        counts = column(rounds, "idling", name, "wake_ups")
        if not counts:
            continue
        seconds = column(rounds, "idling", name, "seconds")[0]
        # Ten seconds of history are twelve at most, because of where they begin and end.
        most = 0 if "no history" in name else seconds + 2
        words = "without a history" if "no history" in name else "with the usual history"
        rows.append(make_row(IDLING, f"in {seconds} s, {words}", "", counts,
                             target=Target(f"<= {most}" if most else "0", "value",
                                           lambda value, most=most: value <= most)))
    return rows


def walk_rows(rounds):
    rows = []
    rounds = [figures for figures in rounds if "walk" in figures]  # not every round has it
    for name, words in (("ls", "ls pids"), ("grep", "grep -r . pids")):
        seconds = column(rounds, "walk", "ttmemd", name)
        if seconds:
            rows.append(make_row(WALK, words, "ms", [s * 1000 for s in seconds],
                                 [s * 1000 for s in column(rounds, "walk", "copy", name)],
                                 "a copy in tmpfs"))
    return rows


def find_rows(rounds):
    seconds = column(rounds, "find", "found")
    if not seconds:
        return []
    return [make_row(FIND, f"until it shows {FOUND} processes from before", "ms",
                     [s * 1000 for s in seconds],
                     [s * 1000 for s in column(rounds, "find", "up")], "until it is up",
                     target=Target("<= 1,000 ms", "value", lambda value: value <= 1000))]


def traffic_rows(rounds):
    events, seconds = column(rounds, "traffic", "events"), column(rounds, "traffic", "seconds")
    drained = column(rounds, "drain", "seconds")
    if not events or not drained:
        return []
    rates = [e / s for e, s in zip(events, seconds)]
    baseline = [e / s for e, s in zip(events, drained)]
    memory = column(rounds, "traffic", "memory_bytes")
    more = f"daemon's memory, {len(rounds) - 1} rounds of {events[0]:,} events after the first"
    return [
        make_row(TRAFFIC, "events a second, counted", "/s", rates, baseline, "thrown away",
                 target=Target(">= 500,000", "value", lambda value: value >= 500_000)),
        make_row(TRAFFIC, "bytes that are missing", "",
                 [abs(b) for b in column(rounds, "traffic", "missing_bytes")],
                 target=Target("0 in all", "highest", lambda value: value == 0)),
        make_row(TRAFFIC, more, "KiB", [(memory[-1] - memory[0]) / 1024],
                 target=Target("<= 256 KiB", "value", lambda value: value <= 256)),
    ]


def scale_rows(rounds):
    rows = []
    alone = column(rounds, "busy", f"ttmemd {PROCESSES[0]}", "median_us")
    for count in PROCESSES[1:]:
        many = column(rounds, "busy", f"ttmemd {count}", "median_us")
        if not many or not alone:
            continue
        rows.append(make_row(SCALE, f"device0/dram_used, {count} processes", "us", many, alone,
                             "1 process"))
        slopes = [(m - a) * 1000 / (count - 1) for m, a in zip(many, alone)]
        # The first hundred add too little to be told from noise.
        target = SLOPE if count == PROCESSES[-1] else None
        rows.append(make_row(SCALE, f"for each further process, 1 to {count}", "ns", slopes,
                             target=target))
    return rows


def all_rows(rounds):
    return [row for rows in (tracking_rows, off_rows, users_rows, read_rows, scale_rows,
                             document_rows, walk_rows, find_rows, latency_rows, rate_rows,
                             idle_rows, traffic_rows)
            for row in rows(rounds)]
