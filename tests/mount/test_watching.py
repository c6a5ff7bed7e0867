# SPDX-License-Identifier: Apache-2.0
"""Those who watch are told: inotify on files and directories, poll(2), and real tools."""
import os
import re
import select
import subprocess
import threading
import time

import alloc
import harness
from harness import NOBODY, MountTest, eventually
from watching import (IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_ISDIR, IN_MODIFY,
                      Inotify, Poller)


class Case(MountTest):
    def status(self, name):
        return int(self.daemon.flat("status")[name])

    def settle(self):
        """Until nothing is followed any more, whoever has read what, but for what tells in the
        directory of the file that is asked: `events`."""
        eventually(lambda: self.status("followed_files") <= 1, "the end of all following", 15)


class Files(Case):
    def test_a_change_is_told_for_the_file_and_for_its_directory(self):
        peer = self.holder()
        file, folder = self.daemon.path("device0/dram_used"), self.daemon.path("device0")
        with Inotify(file, folder) as watch:
            for number in range(2, 12):
                peer(f"alloc 0 dram {number:#x}000 4096")
                watch.wait(lambda p, m, n: m & IN_MODIFY and p == file)
                self.assertEqual(self.daemon.value("device0/dram_used"), number * 4096)
            watch.take()
        with Inotify(folder) as watch:
            peer("alloc 0 l1 0x1000 4096")
            self.assertEqual(watch.modified(f"{folder}/l1_used")[2], "l1_used")

    def test_a_process_has_events_of_its_own(self):
        peer, other = self.holder(), self.holder(asic=0xB)
        with Inotify(self.daemon.path("pids", peer.pid, "dram"),
                     self.daemon.path("pids", other.pid, "dram")) as watch:
            other("alloc 0 dram 0x5000 64")
            self.assertIn(f"/{other.pid}/", watch.modified(
                self.daemon.path("pids", other.pid, "dram"))[0])
            watch.take()
            self.assertEqual([e for e in watch.seen if f"/{peer.pid}/" in e[0]], [])

    def test_the_last_of_many_changes_is_never_lost_and_many_are_one(self):
        peer = self.holder()
        path = self.daemon.path("device0/dram_used")
        with Inotify(path) as watch:
            for burst in range(10):
                for number in range(200):
                    peer(f"alloc 0 dram {burst * 200 + number + 2:#x}000 64")
                expected = 4096 + (burst + 1) * 200 * 64
                # Whoever reads after each event and at no other time sees the last value.
                seen = 0
                while seen != expected:
                    watch.modified(path)
                    seen = self.daemon.value("device0/dram_used")
                told = len([e for e in watch.seen if e[1] & IN_MODIFY])
                self.assertLess(told, 100)

    def test_what_comes_back_to_the_same_value_raises_nothing_for_itself(self):
        peer = self.holder()
        with Inotify(self.daemon.path("device0/l1_used"),
                     self.daemon.path("device0/dram_used")) as watch:
            for number in range(20):
                peer(f"alloc 0 dram {number + 2:#x}000 64")
                watch.modified(self.daemon.path("device0/dram_used"))
            watch.take()
            self.assertEqual([e for e in watch.seen if "l1_used" in e[0]], [])

    def test_many_watchers_are_told_also_of_other_users_and_namespaces(self):
        peer = self.holder()
        path = self.daemon.path("device0/dram_used")
        tools = [["inotifywait", "-q", "-e", "modify", path],
                 ["setpriv", f"--reuid={NOBODY.pw_uid}", f"--regid={NOBODY.pw_gid}",
                  "--clear-groups", "inotifywait", "-q", "-e", "modify", path],
                 ["unshare", "--mount", "inotifywait", "-q", "-e", "modify", path],
                 ["unshare", "--pid", "--fork", "--mount", "inotifywait", "-q", "-e", "modify",
                  path]]
        watchers = [subprocess.Popen(t, stdout=subprocess.PIPE, text=True) for t in tools]
        with Inotify(path) as first, Inotify(path) as second:
            stop = threading.Event()

            def change():
                number = 2
                while not stop.wait(0.05):
                    peer(f"alloc 0 dram {number:#x}000 64")
                    number += 1

            changer = threading.Thread(target=change)
            changer.start()
            try:
                for watcher in watchers:
                    out, _ = watcher.communicate(timeout=20 * harness.CALM)
                    self.assertEqual((watcher.returncode, out.strip()), (0, f"{path} MODIFY"))
            finally:
                stop.set()
                changer.join()
                for watcher in watchers:
                    watcher.kill()
                    watcher.wait()
            first.modified(path)
            second.modified(path)

    def test_the_time_of_a_file_is_that_of_its_last_change(self):
        peer = self.holder()
        path = self.daemon.path("device0/dram_used")
        before = os.stat(path).st_mtime_ns
        self.assertEqual(eventually(lambda: os.stat(path)).st_mtime_ns, before)
        peer("alloc 0 dram 0x2000 64")
        eventually(lambda: os.stat(path).st_mtime_ns > before)

    def test_other_sources_tell_too(self):
        shm = f"{self.daemon.dir}/shm"
        os.mkdir(shm)
        self.daemon.stop()
        self.daemon = harness.Daemon()
        self.daemon.options = ("--shm", shm, f"--alloc-server={self.daemon.dir}/alloc.sock")
        os.makedirs(shm, exist_ok=True)
        self.addCleanup(os.rmdir, shm)
        self.daemon.start()
        teller = alloc.Teller(f"{self.daemon.dir}/alloc.sock")
        teller.alloc(1, 4096)
        path = self.daemon.path("device0/dram_used")
        self.assertEqual(self.daemon.value("device0/dram_used"), 4096)
        with Inotify(path) as watch:
            for number in range(2, 10):
                teller.alloc(number, 4096)
                watch.modified(path)
        from test_sim import Sim
        sim = Sim("--as", "tt-metal", "--shm", shm, "--model", "resnet50", "--load-ms", "0",
                  "--step-ms", "20", "--quiet", "--devices", "3")
        name = eventually(lambda: [d for d in self.daemon.devices() if d != "device0"])[0]
        with Inotify(self.daemon.path(name, "l1_used")) as watch:
            for _ in range(3):
                watch.modified(self.daemon.path(name, "l1_used"))
        sim.destroy()
        for file in os.listdir(shm):
            os.unlink(f"{shm}/{file}")


class Directories(Case):
    def test_processes_come_and_go(self):
        pids = self.daemon.path("pids")
        with Inotify(pids) as watch:
            for _ in range(20):
                peer = self.holder()
                name = str(peer.pid)
                watch.wait(lambda p, m, n, name=name: m == IN_CREATE | IN_ISDIR and n == name)
                self.assertEqual(self.daemon.value("pids", peer.pid, "dram"), 4096)
                peer.kill()
                watch.wait(lambda p, m, n, name=name: m == IN_DELETE | IN_ISDIR and n == name)
                self.assertFalse(self.daemon.exists("pids", peer.pid))

    def test_one_that_is_looked_at_at_once_is_announced_all_the_same(self):
        stop, pids = threading.Event(), self.daemon.path("pids")

        def look():
            while not stop.is_set():
                for name in os.listdir(pids):
                    for leaf in ("", "/dram", "/device0/dram"):
                        try:
                            os.stat(f"{pids}/{name}{leaf}")
                        except OSError:
                            pass

        lookers = [threading.Thread(target=look) for _ in range(2)]
        with Inotify(pids) as watch:
            for looker in lookers:
                looker.start()
            try:
                for _ in range(40):
                    peer = self.holder()
                    name = str(peer.pid)
                    watch.wait(lambda p, m, n, name=name: m & IN_CREATE and n == name)
                    peer.kill()
                    watch.wait(lambda p, m, n, name=name: m & IN_DELETE and n == name)
            finally:
                stop.set()
                for looker in lookers:
                    looker.join()
        self.assertEqual(self.status("untold_changes"), 0)

    def test_devices_and_links_come_and_go(self):
        self.daemon.text("version")
        root = self.daemon.mount
        with Inotify(root, f"{root}/by-asic") as watch:
            peer = self.holder(device=3, asic=0xABC)
            watch.wait(lambda p, m, n: m & IN_CREATE and n == "device3")
            watch.wait(lambda p, m, n: m & IN_CREATE and n == f"{0xABC:016x}")
        with Inotify(self.daemon.path("device3/pids"), self.daemon.path("pids", peer.pid)) as watch:
            other = self.holder(device=3, asic=0xABC)
            watch.wait(lambda p, m, n: m == IN_CREATE and n == str(other.pid))
            peer("declare 4 asic=0xdef")
            peer("alloc 4 dram 0x1000 64")
            watch.wait(lambda p, m, n: m == IN_CREATE | IN_ISDIR and n == "device4")
            other.kill()
            watch.wait(lambda p, m, n: m == IN_DELETE and n == str(other.pid))

    def test_watches_on_a_process_end_with_it(self):
        peer = self.holder()
        paths = [self.daemon.path("pids", peer.pid, name) for name in ("", "dram", "comm",
                                                                      "device0/dram")]
        with Inotify(*paths) as watch:
            peer.kill()
            for path in paths[1:] + paths[:1]:
                watch.seen += watch.take()
            ended = set()
            while len(ended) < len(paths):
                ended.add(watch.wait(lambda p, m, n: m & IN_DELETE_SELF and p not in ended)[0])

    def test_only_the_daemon_makes_and_removes(self):
        peer = self.holder()
        with Inotify(self.daemon.path("pids")):
            for call in (lambda: os.mkdir(self.daemon.path("pids/77777")),
                         lambda: os.rmdir(self.daemon.path("pids", peer.pid)),
                         lambda: os.unlink(self.daemon.path("device0/dram_used")),
                         lambda: os.symlink(".", self.daemon.path("device0/pids/77777")),
                         lambda: os.open(self.daemon.path("device0/dram_used"), os.O_WRONLY)):
                self.assertRaises(PermissionError, call)


class Polls(Case):
    def test_as_on_sysfs_there_is_news_until_it_is_read(self):
        peer = self.holder()
        with Poller(self.daemon.path("device0/dram_used")) as poller:
            self.assertTrue(poller.is_news())
            self.assertEqual(poller.read(), b"4096\n")
            self.assertFalse(poller.is_news())
            for number in range(2, 30):
                peer(f"alloc 0 dram {number:#x}000 4096")
                poller.wait()
                self.assertTrue(poller.is_news())
                self.assertEqual(poller.read(), b"%d\n" % (number * 4096))
                self.assertFalse(poller.is_news())

    def test_one_who_waits_is_woken(self):
        peer = self.holder()
        path = self.daemon.path("device0/dram_used")
        pollers = [Poller(path) for _ in range(20)]
        epoll = select.epoll()
        for poller in pollers:
            poller.read()
            epoll.register(poller.fd, select.EPOLLPRI)
        self.assertEqual(epoll.poll(0), [])
        woken = []
        waiter = threading.Thread(target=lambda: woken.append(epoll.poll(20 * harness.CALM)))
        waiter.start()
        peer("alloc 0 dram 0x2000 64")
        waiter.join()
        self.assertTrue(woken[0])
        for poller in pollers:
            poller.wait()
            poller.close()
        epoll.close()

    def test_those_who_stay_are_woken_when_others_have_gone(self):
        peer, path = self.holder(), self.daemon.path("device0/dram_used")
        pollers = [Poller(path) for _ in range(6)]
        for leaving in ((0, 2), (3,)):  # the first, and some between others
            with select.epoll() as epoll:
                for poller in pollers:
                    poller.read()
                    epoll.register(poller.fd, select.EPOLLPRI)
                self.assertEqual(epoll.poll(0), [])
                for number in reversed(leaving):
                    pollers.pop(number).close()
                others = [Poller(path) for _ in range(8)]  # which may take their places
                peer(f"alloc 0 dram {len(pollers):#x}00000 64")
                woken = set()

                def all_woken():
                    woken.update(fd for fd, _ in epoll.poll(0.1))
                    return woken == {poller.fd for poller in pollers}

                eventually(all_woken, "all who stayed")
                for other in others:
                    other.close()
        for poller in pollers:
            poller.close()

    def test_one_who_goes_away_costs_nothing(self):
        peer = self.holder()
        for _ in range(50):
            with Poller(self.daemon.path("device0/dram_used")) as poller:
                poller.read()
                poller.is_news()
        peer("alloc 0 dram 0x2000 64")
        self.settle()
        rung = self.status("doorbells")
        for number in range(3, 50):
            peer(f"alloc 0 dram {number:#x}000 64")
        self.assertLessEqual(self.status("doorbells"), rung + 1)

    def test_a_file_that_does_not_tell_is_readable_and_no_more(self):
        with open(self.daemon.path("version"), encoding="ascii") as file:
            poll = select.poll()
            poll.register(file, select.POLLIN | select.POLLPRI)
            self.assertEqual(poll.poll(0)[0][1], select.POLLIN)


class Costs(Case):
    def test_once_it_is_settled_that_nobody_watches_no_bell_rings_and_nothing_is_told(self):
        peer = self.holder()
        self.daemon.value("device0/dram_used")
        with Inotify(self.daemon.path("device0/dram_used")) as watch:
            peer("alloc 0 dram 0x2000 64")
            watch.modified(self.daemon.path("device0/dram_used"))
        peer("alloc 0 dram 0x3000 64")
        self.settle()
        peer("alloc 0 dram 0x4000 64")  # the bell that may still be armed
        before = self.status("doorbells"), self.status("notifications")
        for number in range(5, 500):
            peer(f"alloc 0 dram {number:#x}000 64")
        self.assertLessEqual(self.status("doorbells"), before[0] + 1)
        self.assertEqual(self.status("notifications"), before[1])

    def test_it_sleeps_when_nobody_reads_or_watches(self):
        peers = [self.holder() for _ in range(5)]
        self.settle()

        def switches():
            with open(f"/proc/{self.daemon.pid}/status", encoding="ascii") as file:
                return int(re.search(r"\nvoluntary_ctxt_switches:\s+(\d+)", file.read())[1])

        eventually(lambda: self.sleeps(switches), "the daemon to sleep", 20)
        before = switches()
        for peer in peers:
            for number in range(2, 100):
                peer(f"alloc 0 dram {number:#x}000 64")
        # A bell that was armed while somebody read may ring, once for each.
        self.assertLessEqual(switches() - before, len(peers) + 3)

    def test_regions_that_change_wake_nobody_who_is_not_asked(self):
        from test_sim import BUSY, Region, Sim
        shm = f"{self.daemon.dir}/shm"
        os.mkdir(shm)
        self.daemon.process.terminate()
        self.daemon.process.wait()
        self.daemon.options = ("--history=0", "--shm", shm)
        self.daemon.start()
        sim = Sim("--as", "tt-metal", "--shm", shm, *BUSY)
        eventually(lambda: self.daemon.exists("pids", sim.pid))
        path = f"{shm}/{os.listdir(shm)[0]}"
        self.settle()

        def switches():
            with open(f"/proc/{self.daemon.pid}/status", encoding="ascii") as file:
                return int(re.search(r"\nvoluntary_ctxt_switches:\s+(\d+)", file.read())[1])

        eventually(lambda: self.sleeps(switches), "the daemon to sleep", 20)
        before, stamps = switches(), set()
        while len(stamps) < 200:
            stamps.add(Region(path, 4).get("Q", 8))
        self.assertLessEqual(switches() - before, 3)
        self.assertIn("l1", os.listdir(self.daemon.path("pids", sim.pid)))
        sim.destroy()
        os.unlink(path)

    @staticmethod
    def sleeps(switches):
        before = switches()
        time.sleep(0.3)
        return switches() == before

    def test_no_change_of_many_threads_is_lost(self):
        """Two sides that change and watch at full speed: after the last change an event follows
        that shows it, each time."""
        peers = [self.holder() for _ in range(2)]
        path = self.daemon.path("device0/dram_used")
        with Inotify(path) as watch:
            for turn in range(150):
                threads = [threading.Thread(target=peer, args=(f"alloc 0 dram {turn + 2:#x}000 64",))
                           for peer in peers]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                expected = 2 * 4096 + (turn + 1) * 128
                while self.daemon_value_after_event(watch, path) != expected:
                    pass

    def daemon_value_after_event(self, watch, path):
        watch.modified(path)
        return self.daemon.value("device0/dram_used")


class Tools(Case):
    def test_inotifywait_sees_a_tree_come_and_go(self):
        watcher = subprocess.Popen(
            ["stdbuf", "-oL", "inotifywait", "-m", "-r", "-e", "create,delete,modify", "--format",
             "%w%f %e", self.daemon.mount], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        lines = []
        reader = threading.Thread(target=lambda: lines.extend(iter(watcher.stdout.readline, "")))
        try:
            for line in iter(watcher.stderr.readline, ""):
                if "established" in line:
                    break
            reader.start()
            peer = self.holder()
            eventually(lambda: any(f"pids/{peer.pid} CREATE,ISDIR" in line for line in lines))
            eventually(lambda: any("device0 CREATE,ISDIR" in line for line in lines))
            peer.kill()
            eventually(lambda: any(f"pids/{peer.pid} DELETE,ISDIR" in line for line in lines))
        finally:
            watcher.kill()
            watcher.wait()
            reader.join()

    def test_entr_runs_its_command_at_each_change(self):
        peer = self.holder()
        marks = f"{self.daemon.dir}/marks"
        entr = subprocess.Popen(["entr", "-n", "sh", "-c", f"echo x >> {marks}"],
                                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        try:
            entr.stdin.write(self.daemon.path("device0/dram_used").encode() + b"\n")
            entr.stdin.close()

            def ran():
                return os.path.getsize(marks) // 2 if os.path.exists(marks) else 0

            eventually(ran)  # once at its start
            # What comes just after it has run its command it leaves out, so there is more.
            for number in range(2, 5):
                before = ran()
                for again in range(1000):
                    peer(f"alloc 0 dram {number * 1000 + again:#x}000 64")
                    time.sleep(0.1)
                    if ran() > before:
                        break
                self.assertGreater(ran(), before)
        finally:
            entr.kill()
            entr.wait()

    def test_tail_f_shows_a_change(self):
        peer = self.holder()
        tail = subprocess.Popen(["tail", "-s", "0.2", "-F", self.daemon.path("device0/dram_used")],
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            self.assertEqual(tail.stdout.readline(), b"4096\n")
            self.assertIsNone(tail.poll())
            peer("alloc 0 dram 0x2000 64")
            self.assertEqual(self.daemon.value("device0/dram_used"), 4160)
        finally:
            tail.kill()
            tail.wait()

    def test_it_ends_with_watchers_and_pollers(self):
        self.holder()
        with Inotify(self.daemon.mount, self.daemon.path("device0/dram_used"),
                     self.daemon.path("pids")), Poller(self.daemon.path("device0/dram_used")):
            self.daemon.stop()


