# SPDX-License-Identifier: Apache-2.0
"""snapshot.json, with real processes: valid by its schema, readable by jq, and one moment."""
import json
import os
import threading

import harness
from harness import KINDS, NOBODY, MountTest, Program, eventually, run

SCHEMA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/snapshot.schema.json")
PYTHON = "/usr/bin/python3"  # the one for which Debian's jsonschema is
VALIDATE = """
import json, sys, jsonschema
schema = json.load(open(sys.argv[1], encoding="utf-8"))
validator = jsonschema.validators.validator_for(schema)
validator.check_schema(schema)
errors = list(validator(schema).iter_errors(json.load(sys.stdin)))
sys.exit("\\n".join(f"{list(e.absolute_path)}: {e.message}" for e in errors) or 0)
"""
ODD_NAMES = ('"', "\\", '"}],{"', "\n\t\x01\x1b[31m", "\x7f", "café", "\u2028", "\\u0041", " ",
             "</script>")
NOT_UTF8 = {b"\xff\xfe": "\ufffd\ufffd", b"a\xc3": "a\ufffd", b"caf\xc3\xa9\xff": "café\ufffd"}
CROWD = 1100  # more than are looked at in one slice


def strict(pairs):
    keys = [key for key, _ in pairs]
    assert len(keys) == len(set(keys)), f"a key twice: {keys}"
    return dict(pairs)


class Snapshots(MountTest):
    def snapshot(self):
        return json.loads(self.daemon.text("snapshot.json"), object_pairs_hook=strict)

    def process(self, pid):
        found, = (p for p in self.snapshot()["processes"] if p["pid"] == pid)
        return found

    def validate(self, text):
        return run(PYTHON, "-c", VALIDATE, SCHEMA, input=text)

    def assertValid(self):
        text = self.daemon.text("snapshot.json")
        result = self.validate(text)
        self.assertEqual((result.returncode, result.stderr), (0, ""), text[:4000])

    def assertSumsAgree(self, snapshot):
        sums = {}
        for process in snapshot["processes"]:
            for holding in process["devices"]:
                for kind, numbers in holding["kinds"].items():
                    key = (holding["device"], kind)
                    sums[key] = sums.get(key, 0) + numbers["used_bytes"]
        for device in snapshot["devices"]:
            for kind, numbers in device["kinds"].items():
                self.assertEqual(numbers["used_bytes"], sums.get((device["device"], kind), 0))


class Documents(Snapshots):
    def test_it_is_valid_with_nothing_there(self):
        self.assertValid()

    def test_it_is_valid_with_processes_that_stay_and_that_left(self):
        self.peer("declare 0 asic=0xA51C pci=0000:01:00.0 arch=wormhole_b0 board=n300 dram=1000",
                  *(f"alloc 0 {kind} 0x1000 64 x" for kind in KINDS), "fail 0 dram 9 5",
                  "name %22%0a%ff")
        self.peer("alloc 3 l1 0x1000 5 x", user=NOBODY)
        gone = self.holder(asic=0xA1)
        gone("name %22%0a%ff")
        gone.kill()
        self.wait_gone(gone.pid)
        self.assertValid()

    def test_the_schema_finds_what_is_wrong(self):
        self.holder()
        good = self.snapshot()
        self.assertEqual(self.validate(json.dumps(good)).returncode, 0)

        def refused(change):
            bad = json.loads(json.dumps(good))
            change(bad)
            self.assertNotEqual(self.validate(json.dumps(bad)).returncode, 0)

        refused(lambda bad: bad.pop("devices"))
        refused(lambda bad: bad.update(version=2))
        refused(lambda bad: bad["processes"][0].update(pid="1"))
        refused(lambda bad: bad["processes"][0]["devices"][0]["kinds"].update(hbm={}))
        refused(lambda bad: bad["devices"][0]["kinds"]["dram"].update(used_bytes=-1))
        refused(lambda bad: bad["devices"][0]["thresholds"]["dram"].update(high="max"))

    def test_it_says_what_the_files_say(self):
        user = self.peer("declare 0 asic=0xA51C pci=0000:01:00.0 arch=wormhole_b0 board=n300 "
                         "dram=1000000", "alloc 0 dram 0x1000 3000 a", "alloc 0 dram 0x2000 500 b",
                         "free 0 dram 0x1000", "alloc 0 cb 0x1000 64 c", user=NOBODY)
        name, = self.daemon.devices()
        snapshot, stat = self.snapshot(), self.daemon.flat(name, "stat")
        device, = snapshot["devices"]
        for key in ("arch", "board", "pci", "asic_id", "capacity_source"):
            self.assertEqual(device[key], self.daemon.text(name, key).strip())
        for kind in KINDS:
            numbers = device["kinds"][kind]
            for key, other in (("used_bytes", "used"), ("peak_bytes", "peak"),
                               ("buffers", "buffers"), ("failures", "failures_total"),
                               ("allocated_bytes", "allocated_total"),
                               ("unattributed_bytes", "unattributed")):
                self.assertEqual(numbers[key], int(stat[f"{kind}_{other}"]), (kind, key))
        self.assertEqual(device["kinds"]["dram"]["capacity_bytes"], 1000000)
        self.assertEqual(device["kinds"]["dram"]["freed_bytes"], 3000)
        process, = snapshot["processes"]
        self.assertEqual((process["pid"], process["uid"], process["comm"], process["source"]),
                         (user.pid, NOBODY.pw_uid, "peer", "native"))
        self.assertEqual(f"{process['start_time']:.3f}\n",
                         self.daemon.text("pids", user.pid, "start_time"))
        self.assertEqual(process["peak_bytes"], {"dram": 3500, "cb": 64})
        self.assertEqual(process["devices"], [{
            "device": device["device"], "source": "native",
            "kinds": {"dram": {"used_bytes": 500, "buffers": 1, "peak_bytes": 3500},
                      "cb": {"used_bytes": 64, "buffers": 1, "peak_bytes": 64}}}])
        self.assertEqual({s["name"]: s["state"] for s in snapshot["sources"]},
                         {row[0]: row[1] for row in (line.split() for line in self.daemon.text(
                             "sources").splitlines()[1:])})

    def test_events_and_thresholds_are_those_of_the_files(self):
        user = self.holder(size=1000)
        name, = self.daemon.devices()
        device, = self.snapshot()["devices"]
        self.assertEqual(device["thresholds"], {"dram": {"high": None, "events": 0},
                                                "l1": {"high": None, "events": 0}})
        with open(self.daemon.path(name, "dram_high"), "w", encoding="ascii") as file:
            file.write("4000\n")
        user("alloc 0 dram 0x2000 5000 x")
        user("fail 0 dram 9 5")
        device, = self.snapshot()["devices"]
        self.assertEqual(device["thresholds"], {"dram": {"high": 4000, "events": 1},
                                                "l1": {"high": None, "events": 0}})
        self.assertEqual({key: str(count) for key, count in device["events"].items()},
                         self.daemon.flat(name, "events"))
        self.assertEqual(device["events"], {"high": 1, "oom": 1})
        self.assertValid()

    def test_names_come_back_as_they_are(self):
        user = self.holder()
        for name in ODD_NAMES:
            user("name " + "".join(f"%{byte:02x}" for byte in name.encode()))
            self.assertEqual(self.process(user.pid)["comm"], name)
        for name, shown in NOT_UTF8.items():
            user("name " + "".join(f"%{byte:02x}" for byte in name))
            self.assertEqual(self.process(user.pid)["comm"], shown)

    def test_large_numbers_are_exact(self):
        for number in ((1 << 53) + 1, (1 << 55) + 12345):
            user = self.peer(f"alloc 0 system 0x1000 {number} x")
            holding, = self.process(user.pid)["devices"]
            self.assertEqual(holding["kinds"]["system"]["used_bytes"], number)

    def test_jq_reads_it(self):
        sizes = {self.holder(size=size).pid: size for size in (11, 222, 3333)}
        path = self.daemon.path("snapshot.json")
        found = run("jq", "-r", ".processes[] | [.pid, ([.devices[].kinds.dram.used_bytes] | add)]"
                    " | @tsv", path, user=NOBODY, check=True).stdout
        self.assertEqual({int(pid): int(size) for pid, size in
                          (line.split("\t") for line in found.splitlines())}, sizes)
        total = run("jq", "[.devices[].kinds.dram.used_bytes] | add", path, check=True).stdout
        self.assertEqual(int(total), sum(sizes.values()))

    def test_who_left_is_remembered_with_what_was_not_freed(self):
        gone = self.holder(size=777)
        gone("name %22gone%0a")
        self.assertEqual(self.process(gone.pid)["comm"], '"gone\n')  # the name is seen at a read
        gone.kill()
        self.wait_gone(gone.pid)
        snapshot = self.snapshot()
        departed, = snapshot["exited"]
        self.assertEqual((departed["pid"], departed["comm"]), (gone.pid, '"gone\n'))
        self.assertEqual(departed["leaked_bytes"], {"dram": 777})
        self.assertEqual((snapshot["exited_processes"], snapshot["leaked_bytes"]), (1, 777))
        self.assertLessEqual(departed["start_time"], departed["end_time"])


class Crowds(Snapshots):
    def test_a_crowd_is_whole_and_each_document_one_moment(self):
        """While others come and go and change, which a document of several moments would show."""
        crowd = Program(self.daemon.program("crowd"), CROWD, 0, KINDS.index("dram"), 4096,
                        TTMEM_SOCKET=self.daemon.socket)
        members = {int(line) for line in crowd.lines_until("ready")}

        def missing():
            return members - {p["pid"] for p in self.snapshot()["processes"]}

        eventually(lambda: not missing(), "all of the crowd", 20)
        stop = threading.Event()

        def churn():
            while not stop.is_set():
                other = self.peer("fill 0 dram 50 64", "fill 0 l1 50 64")
                other.kill()

        churner = threading.Thread(target=churn)
        churner.start()
        try:
            for _ in range(15):
                snapshot = self.snapshot()
                self.assertEqual(members - {p["pid"] for p in snapshot["processes"]}, set())
                self.assertSumsAgree(snapshot)
        finally:
            stop.set()
            churner.join()
        self.assertValid()
        crowd.close(limit=20)


class Untracked(Snapshots):
    def setUp(self):
        super().setUp()
        self.daemon.stop()
        self.daemon = harness.Daemon()
        tree = f"{self.daemon.dir}/driver"
        self.opener = Program("cat")
        run(f"{harness.BUILD}/ttmem-fake-driver", "--root", tree, "--devices", "n300,p150a",
            "--pids", f"0:{self.opener.pid}", check=True)
        self.daemon.options = ("--driver-sysfs", f"{tree}/class/tenstorrent",
                               "--driver-procfs", f"{tree}/proc")
        self.daemon.start()

    def test_who_only_has_a_device_open_is_untracked(self):
        process = eventually(lambda: self.snapshot()["processes"], "the opener")[0]
        self.assertEqual((process["pid"], process["untracked"], process["source"]),
                         (self.opener.pid, True, "kmd"))
        self.assertEqual(process["devices"], [{"device": 0, "source": "kmd", "kinds": {}}])
        devices = self.snapshot()["devices"]
        self.assertEqual([d["processes"] for d in devices], [1, 0])
        self.assertEqual({d["capacity_source"] for d in devices}, {"table"})
        self.assertValid()
