# SPDX-License-Identifier: Apache-2.0
"""What the kernel driver knows, in the mount: devices, and who has them open."""
import os
import signal
import threading
import time

from alloc import PYTHON
from harness import KINDS, NOBODY, Program, clean_up, eventually, force_unmount, libc
from test_users import OwnDaemon
from trees import Tree, TreeTest

GIB = 1 << 30
HOLD = """import os, sys
os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
print("open", flush=True)
sys.stdin.read()"""


class Devices(TreeTest):
    def test_a_device_has_the_drivers_number_and_files(self):
        for number, board, arch, dram, l1 in ((0, "n300", "wormhole_b0", 12 * GIB, 95944704),
                                              (1, "p150a", "blackhole", 34225520640, 220200960)):
            device = f"device{number}"
            asic, pci = f"{self.tree.asic(number):016x}", f"0000:0{number + 1}:00.0"
            for name, text in (("board", board), ("arch", arch), ("asic_id", asic), ("pci", pci),
                               ("serial", self.tree.read(number, "tt_serial").lower()),
                               ("numa_node", "0"), ("firmware", "18.12.0.0"), ("remote", "0"),
                               ("capacity_source", "table"), ("dram_total", str(dram)),
                               ("dram_free", str(dram)), ("l1_total", str(l1)),
                               ("dram_used", "0")):
                self.assertEqual(self.daemon.text(device, name), f"{text}\n", name)
            for name in (f"by-asic/{asic}", f"by-pci/{pci}"):
                self.assertEqual(os.readlink(self.daemon.path(name)), f"../{device}")
        self.assertEqual(self.daemon.devices(), ["device0", "device1"])
        self.assertEqual(self.source("kmd")[:3], ("up", "2", "0"))

    def test_devices_that_the_driver_does_not_list_follow_behind(self):
        for device, asic in ((0, 0x77), (1, 0x78)):
            self.holder(device=device, asic=asic)
            self.assertIn(f"{asic:016x}", os.listdir(self.daemon.path("by-asic")))
        self.assertEqual(self.daemon.devices(), ["device0", "device1", "device2", "device3"])
        self.assertEqual(self.daemon.text("device2", "asic_id"), f"{0x77:016x}\n")
        self.assertEqual(self.daemon.value("device0", "dram_used"), 0)

    def test_a_clients_capacity_counts_more_than_the_tables(self):
        peer = self.peer(f"declare 0 asic={self.tree.asic(0):#x} dram=1000 l1=100",
                         "alloc 0 dram 0x1000 10")
        self.assertEqual(self.daemon.text("device0", "capacity_source"), "client\n")
        self.assertEqual(self.daemon.value("device0", "dram_total"), 1000)
        self.assertEqual(self.daemon.value("device0", "dram_free"), 990)
        peer.close()
        self.peer(f"declare 0 asic={self.tree.asic(0):#x} dram=2000")
        self.wait_text("2000", "device0", "dram_total")

    def test_devices_come_and_go_and_keep_their_numbers(self):
        asics = [self.tree.asic(number) for number in (0, 1)]
        self.tree.remove(0)
        self.wait_devices(1)
        self.assertEqual(os.listdir(self.daemon.path("by-asic")), [f"{asics[1]:016x}"])
        self.assertEqual(os.listdir(self.daemon.path("by-pci")), ["0000:02:00.0"])
        self.tree.make("n300", "p150a", "n150")
        self.wait_devices(0, 1, 2)
        self.assertEqual(self.daemon.text("device0", "asic_id"), f"{asics[0]:016x}\n")
        self.tree.remove(0, 1, 2)  # the driver is unloaded...
        self.wait_devices()
        self.assertEqual(self.source("kmd")[:2], ("up", "0"))
        self.tree.make("n300", "p150a")
        self.wait_devices(0, 1)
        self.assertEqual(self.daemon.text("device1", "asic_id"), f"{asics[1]:016x}\n")

    def test_a_device_that_comes_back_can_be_read_by_name(self):
        """The kernel keeps the old one's directory entry for a second, unless it is told; nobody is
        while a user has the directory open. One that has just come is not kept at all."""
        user = Program(PYTHON, "-c", HOLD, self.daemon.mount, user=NOBODY)
        self.assertEqual(user.line(), "open")
        looks = (lambda folder: os.stat(f"{folder}/dram_used"),
                 os.stat,
                 os.listdir,
                 lambda folder: os.listdir(f"{folder}/pids"),
                 lambda folder: os.close(os.open(f"{folder}/pids", os.O_RDONLY | os.O_DIRECTORY)),
                 lambda folder: None)
        folders = [self.daemon.path(f"device{number}") for number in range(len(looks))]
        for is_kept in (False, True):
            self.tree.make(*["p150a"] * (len(looks) + 1))
            self.wait_devices(*range(len(looks) + 1))
            if is_kept:
                newest = max(os.stat(folder).st_mtime for folder in folders)
                eventually(lambda: time.time() > newest + 2.1, "an age")
            files = [open(f"{folder}/dram_used", encoding="ascii") for folder in folders]
            for folder in folders:
                os.stat(f"{folder}/pids")
            self.tree.remove(*range(len(looks)))
            self.wait_devices(len(looks))
            for folder in folders:  # what stat() shows may be kept, too
                with self.assertRaises(FileNotFoundError):
                    os.open(f"{folder}/dram_used", os.O_RDONLY)
            self.tree.make(*["p150a"] * (len(looks) + 1))
            self.wait_devices(*range(len(looks) + 1))
            for number, (look, file) in enumerate(zip(looks, files)):
                look(folders[number])
                self.assertEqual(self.daemon.text(f"device{number}", "dram_used"), "0\n")
                try:
                    self.assertIn(file.read(), ("0\n", ""))
                except OSError:
                    pass
                file.close()
            self.tree.remove(*range(len(looks)))
            self.wait_devices(len(looks))

    def test_a_directory_that_is_held_is_of_the_device_that_went(self):
        held = os.open(self.daemon.path("device0"), os.O_RDONLY | os.O_DIRECTORY)
        self.addCleanup(os.close, held)
        self.tree.remove(0)
        self.wait_devices(1)
        for error in (FileNotFoundError, OSError):  # and when another has its name
            with self.assertRaises(error):
                os.open("dram_used", os.O_RDONLY, dir_fd=held)
            self.tree.make("n300", "p150a")
            self.wait_devices(0, 1)

    def test_a_device_that_clients_named_goes_with_the_driver(self):
        peer = self.holder(asic=self.tree.asic(0))
        self.tree.remove(0)
        eventually(lambda: self.source("kmd")[1] == "1", "the driver's word")
        self.assertEqual(self.daemon.value("device0", "dram_used"), 4096)
        peer.close()
        self.wait_devices(1)

    def test_another_card_in_the_slot_is_another_device(self):
        self.tree.remove(0)
        self.wait_devices(1)
        os.rename(self.tree.class_dir, f"{self.dir}/away")  # nobody looks until it is changed
        self.tree.make("n300", "p150a")
        self.tree.replace(self.tree.path(0, "tt_asic_id"), "00000000000000AB\n")
        self.wait_devices(1, 2)
        self.assertEqual(self.daemon.text("device2", "asic_id"), "00000000000000ab\n")
        self.assertEqual(os.readlink(self.daemon.path("by-pci", "0000:01:00.0")), "../device2")


class Processes(TreeTest):
    def test_who_only_has_a_device_open_is_untracked(self):
        process = self.waiter(user=NOBODY)
        pid = str(process.pid)
        self.tree.opens(1, pid, pid, pid)
        self.wait_pids(process.pid)
        row = self.lines()[pid]
        self.assertEqual(row[1:4] + row[-2:], [str(NOBODY.pw_uid), "untracked", "-", "1", "cat"])
        self.assertEqual(self.daemon.text("summary").count("untracked"), 1)
        self.assertEqual(set(os.listdir(self.daemon.path("pids", pid))),
                         {"comm", "uid", "start_time", "source", "stat", "cgroup", "device1"})
        self.assertEqual(os.listdir(self.daemon.path("pids", pid, "device1")), ["source"])
        for names in (("source",), ("device1", "source")):
            self.assertEqual(self.daemon.text("pids", pid, *names), "kmd\n")
        self.assertEqual(self.daemon.text("pids", pid, "comm"), "cat\n")
        self.assertEqual(self.daemon.value("pids", pid, "uid"), NOBODY.pw_uid)
        self.assertEqual(self.daemon.flat("pids", pid, "stat")["device1_untracked"], "1")
        for kind in (*KINDS, "total", "buffers", "peak"):
            self.assertFalse(self.daemon.exists("pids", pid, kind), kind)
            self.assertFalse(self.daemon.exists("pids", pid, "device1", kind), kind)
        self.assertEqual(os.listdir(self.daemon.path("device1", "pids")), [pid])
        self.assertEqual(self.source("kmd")[2], "1")
        self.assertEqual(self.daemon.value("device1", "dram_used"), 0)

    def test_it_is_there_once_for_all_its_devices_and_goes_with_the_last(self):
        process = self.waiter()
        self.tree.opens(0, process.pid, process.pid)
        self.tree.opens(1, process.pid)
        eventually(lambda: self.lines().get(str(process.pid), [""])[-2:] == ["0-1", "cat"],
                   "both")
        self.tree.opens(0)
        eventually(lambda: not self.daemon.exists("pids", process.pid, "device0"), "one less")
        self.assertEqual(self.daemon.pids(), {process.pid})
        self.tree.opens(1)
        self.wait_pids()
        self.assertEqual(self.daemon.table("exited"), [])

    def test_the_dead_go_at_once_although_the_list_has_them(self):
        process, other = self.waiter(), self.waiter()
        self.tree.opens(0, process.pid, other.pid)
        self.wait_pids(process.pid, other.pid)
        process.kill()
        self.wait_gone(process.pid)
        for _ in range(50):  # more than one look
            self.assertEqual(self.daemon.pids(), {other.pid})
        self.assertEqual(self.daemon.table("exited"), [])

    def test_one_that_is_dead_and_not_waited_for_does_not_come_back(self):
        process = self.waiter()
        self.tree.opens(0, process.pid)
        self.wait_pids(process.pid)
        os.kill(process.pid, signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        self.wait_gone(process.pid)
        before = self.daemon.flat("status")["requests"]
        updated = self.source("kmd")[3]
        for _ in range(200):
            self.assertEqual(self.daemon.pids(), set())
        self.assertNotEqual(self.daemon.flat("status")["requests"], before)
        self.assertEqual(self.source("kmd")[3], updated)

    def test_what_makes_no_sense_in_a_list_is_passed_over(self):
        process = self.waiter()
        self.tree.replace(self.tree.pids_path(0), f"0\n-1\n\n999999999999\nx{process.pid}\n"
                                                  f"{process.pid} \n4194304\n \n")
        self.tree.replace(self.tree.pids_path(1), f"0\nabc\n{process.pid}")
        self.wait_pids(process.pid)
        self.assertFalse(self.daemon.exists("pids", process.pid, "device0"))
        self.assertEqual(self.source("kmd")[0], "up")

    def test_a_hundred_of_them_come_and_go(self):
        processes = [self.waiter() for _ in range(100)]
        self.tree.opens(0, *(process.pid for process in processes))
        self.wait_pids(*(process.pid for process in processes))
        self.assertEqual(self.lines()["device0"][-1], "100")
        for process in processes[:50]:
            process.kill()
        self.wait_pids(*(process.pid for process in processes[50:]))
        self.tree.opens(0)
        self.wait_pids()
        eventually(lambda: self.daemon.descriptors() < 60, "their descriptors")


class Faults(TreeTest):
    """A tree in which nothing is as it should be, but for one device."""

    boards = ("n300", "p150a", "n150", "n150")

    def prepare(self):
        for name in ("tt_card_type", "tt_serial", "tt_fw_bundle_ver"):
            os.unlink(self.tree.path(0, name))
        self.tree.replace(self.tree.path(1, "tt_card_type"), "x900\n")
        self.tree.replace(self.tree.path(1, "tt_serial"), "../../etc\n")
        self.tree.replace(self.tree.path(1, "tt_fw_bundle_ver"), "1.0\x1b[31m\n")
        self.tree.replace(f"{self.tree.path(1, 'device')}/numa_node", "-1\n")
        os.unlink(self.tree.path(2, "tt_card_type"))
        os.mkfifo(self.tree.path(2, "tt_card_type"))

    def test_what_is_not_known_has_no_file(self):
        for device, gone in ((0, ("board", "serial", "firmware", "arch")),
                             (1, ("serial", "firmware", "numa_node", "arch")),
                             (2, ("board", "arch"))):
            for name in (*gone, "dram_total", "dram_free", "l1_total", "capacity_source"):
                self.assertFalse(self.daemon.exists(f"device{device}", name), (device, name))
            stat = self.daemon.flat(f"device{device}", "stat")
            self.assertFalse({"dram_total", "dram_free"} & set(stat))
        self.assertEqual(self.daemon.text("device1", "board"), "x900\n")
        self.assertEqual(self.lines()["device1"][1:6], ["x900", "0", "B", "-", "-"])
        self.assertEqual(self.daemon.value("device3", "dram_total"), 12 * GIB)

    def test_what_comes_later_is_known_then(self):
        self.tree.replace(self.tree.path(0, "tt_card_type"), "n300\n")
        self.wait_text("n300", "device0", "board")
        self.assertEqual(self.daemon.value("device0", "dram_total"), 12 * GIB)

    def test_no_node_or_pipe_is_ever_opened(self):
        """Whoever opens a pipe to write waits until somebody opens it to read."""
        os.unlink(self.tree.pids_path(3))
        os.mkfifo(self.tree.pids_path(3))
        pipes = [self.tree.path(2, "tt_card_type"), self.tree.pids_path(3)]
        opened = []
        def write(path):
            os.close(os.open(path, os.O_WRONLY))
            opened.append(path)
        threads = [threading.Thread(target=write, args=(path,)) for path in pipes]
        for thread in threads:
            thread.start()
        try:
            eventually(lambda: self.source("kmd")[0] == "error", "the missing list")
            self.assertIn("/proc/3/pids cannot be read", self.source("kmd")[4])
            process = self.waiter()
            self.tree.opens(0, process.pid)
            self.wait_pids(process.pid)
            self.tree.remove(1)
            self.wait_devices(0, 2, 3)
            self.assertEqual(opened, [])
        finally:
            for path, thread in zip(pipes, threads):
                fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
                thread.join()
                os.close(fd)

    def test_a_device_node_in_the_tree_is_not_opened(self):
        """A character device that has no driver: to open it would fail as ENXIO, which is no
        matter; so the daemon's descriptors are looked at, too."""
        for path in (self.tree.path(3, "tt_asic_id"), self.tree.pids_path(0)):
            os.unlink(path)
            os.mknod(path, 0o600 | 0o020000, os.makedev(1, 7))
        eventually(lambda: self.source("kmd")[0] == "error", "the missing list")
        self.assertFalse([path for path in self.daemon.open_paths() if self.tree.root in path])


class NoDriver(TreeTest):
    boards = ()

    def test_without_a_driver_the_source_is_down_and_the_rest_works(self):
        state, devices, processes, updated, detail = self.source("kmd")
        self.assertEqual((state, devices, processes, updated), ("down", "0", "0", "-"))
        self.assertEqual(detail, f"no driver: {self.tree.class_dir} cannot be read "
                                 "(No such file or directory)")
        self.holder()
        self.assertEqual(self.daemon.value("device0", "dram_used"), 4096)

    def test_an_address_that_a_client_claimed_before_is_the_drivers(self):
        peer = self.peer("declare 0 asic=0x99 pci=0000:01:00.0", user=NOBODY)
        self.assertEqual(self.daemon.devices(), ["device0"])
        self.tree.make("n150")
        self.wait_devices(0, 1)
        self.assertEqual(os.listdir(self.daemon.path("by-pci")), ["0000:01:00.0"])
        self.assertEqual(os.readlink(self.daemon.path("by-pci", "0000:01:00.0")), "../device1")
        peer.close()

    def test_a_driver_that_is_loaded_later_is_seen(self):
        self.tree.make("n150")
        self.wait_devices(0)
        self.assertEqual(self.source("kmd")[0], "up")
        self.tree.remove(0)
        os.rmdir(self.tree.class_dir)
        eventually(lambda: self.source("kmd")[0] == "down", "the end of the driver")
        self.assertEqual(self.daemon.devices(), [])

    def test_a_device_that_a_client_numbered_is_the_drivers_of_that_number(self):
        self.peer("alloc 0 dram 0x1000 4096")
        self.assertEqual(self.daemon.devices(), ["device0"])
        self.tree.make("n150")
        self.wait_text("n150", "device0", "board")
        self.assertEqual(self.daemon.value("device0", "dram_used"), 4096)


class DeafTree(TreeTest):
    """The driver's directory is on a file system whose server never answers."""

    fuse = None

    def deafen(self):
        self.fuse = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={self.fuse},rootmode=40000,user_id=0,group_id=0"
        self.assertEqual(libc.mount(b"deaf", self.tree.class_dir.encode(), b"fuse.deaf", 0,
                                    options.encode()), 0)
        self.addCleanup(self.release)

    def release(self):
        force_unmount(self.tree.class_dir)
        if self.fuse is not None:
            os.close(self.fuse)
        self.fuse = None

    def wait_silence(self):
        eventually(lambda: self.source("kmd")[0] == "error", "the silence")
        self.assertIn("does not answer", self.source("kmd")[4])


class Deaf(DeafTree):
    def test_readers_see_what_was_there_and_the_end_is_in_time(self):
        asic = self.tree.asic(0)
        self.deafen()
        peer = self.holder(asic=asic)
        self.wait_silence()
        self.assertEqual(self.daemon.value("device0", "dram_used"), 4096)
        peer.close()
        self.daemon.stop()

    def test_it_goes_on_when_the_driver_answers_again(self):
        self.deafen()
        self.wait_silence()
        self.release()
        eventually(lambda: self.source("kmd")[0] == "up", "an answer")
        self.tree.remove(0)
        self.wait_devices(1)


class DeafFromTheStart(DeafTree):
    def prepare(self):
        self.deafen()

    def test_the_daemon_starts_and_says_so(self):
        self.assertIn(self.source("kmd")[0], ("down", "error"))
        self.assertIn("does not answer", self.source("kmd")[4])
        self.holder()
        self.assertEqual(self.daemon.value("device0", "dram_used"), 4096)
        self.wait_silence()
        self.release()
        self.wait_devices(0, 1, 2)


class TreeDaemon(OwnDaemon):
    """A daemon of nobody's that looks at a tree."""

    def argv(self):
        tree = f"{self.dir}/tree"
        return [*super().argv(), "--driver-sysfs", f"{tree}/class/tenstorrent", "--driver-procfs",
                f"{tree}/proc", "--shm", f"{self.dir}/shm"]


class OrdinaryUser(TreeTest):
    def setUp(self):
        self.addCleanup(clean_up)
        self.daemon = TreeDaemon()
        self.tree = Tree(f"{self.daemon.dir}/tree", "n300")
        os.mkdir(f"{self.daemon.dir}/shm")
        self.daemon.start()

    def test_devices_and_processes_of_all_users_are_there(self):
        mine, roots = self.waiter(user=NOBODY), self.waiter()
        self.tree.opens(0, mine.pid, roots.pid)
        def both():
            text = self.daemon.text("summary")
            return all(f"\n{process.pid} " in text for process in (mine, roots)) and text
        self.assertEqual(eventually(both, "both").count("untracked"), 2)
        self.assertEqual(self.daemon.value("device0", "dram_total"), 12 * GIB)
        self.assertEqual(self.daemon.text("pids", roots.pid, "uid"), "0\n")
        roots.kill()
        mine.kill()
        eventually(lambda: "untracked" not in self.daemon.text("summary"), "their end")
        self.assertEqual(self.daemon.inside("cat", self.daemon.path("sources")).stderr, "")
