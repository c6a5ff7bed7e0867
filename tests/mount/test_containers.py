# SPDX-License-Identifier: Apache-2.0
"""Regions in containers: another /dev/shm, and processes that have other numbers there."""
import os
import re

import harness
from harness import Program, eventually
from metal import MIB, MetalTest, region_name

TMPFS = "mount -t tmpfs none /dev/shm && "


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def inner_pid(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        return int(re.search(r"^NSpid:.*\t(\d+)$", file.read(), re.M)[1])


class Inside(Program):
    """A process in namespaces of its own or of another; `pid` is its number here."""

    def __init__(self, *argv):
        super().__init__("sh", "-c", 'exec "$@" 2>&1', "sh", *argv)
        self.tool = self.pid
        self.line()
        self.pid = children(self.tool)[0]
        self.inner = inner_pid(self.pid)

    def kill(self):
        """Its first process: the tool that made it ends then, too."""
        os.kill(self.pid, 9)
        self.process.wait()
        self.close()


class Container(Inside):
    def __init__(self, prepare=TMPFS):
        super().__init__("unshare", "--pid", "--mount", "--fork", "--kill-child", "sh", "-c",
                         f"{prepare} echo there && exec cat")
        self.shm = f"/proc/{self.pid}/root/dev/shm"

    def enter(self):
        return Inside("nsenter", "--target", self.pid, "--pid", "--mount", "sh", "-c",
                      "echo there && exec cat")


class ContainerTest(MetalTest):
    def before_start(self):
        self.driver("--devices", "n150,n150")
        self.asic = self.asic_of(0)

    def asic_of(self, number):
        path = f"{self.tree}/class/tenstorrent/tenstorrent!{number}/tt_asic_id"
        with open(path, encoding="ascii") as file:
            return int(file.read(), 16)

    def container(self, dram=MIB, listed=True, prepare=TMPFS):
        """With a region where its first process has something."""
        container = Container(prepare)
        container.file = self.region(self.asic, folder=container.shm)
        container.file.slot(0, container.inner, dram=dram)
        container.file.total(dram=dram)
        if listed:
            self.open_device(container)
        return container

    def open_device(self, *processes):
        """By the driver's word, these have device 0 open besides those that do already."""
        self.opened = [*getattr(self, "opened", []), *(process.pid for process in processes)]
        self.driver("--pids", "0:" + ",".join(str(pid) for pid in self.opened))

    def open_in_containers(self):
        """What the daemon has open of them; of the host it has none there."""
        return [path for path in self.daemon.open_paths() if path.startswith("/dev/shm")]

    def wait_held(self, process, dram):
        eventually(lambda: self.daemon.exists("pids", process.pid, "dram")
                   and self.held(process) == dram, f"{dram} of process {process.pid}")


class Containers(ContainerTest):
    def test_a_region_in_a_container_counts_for_the_process_as_we_number_it(self):
        container = self.container(dram=3 * MIB)
        self.assertEqual(container.inner, 1)
        self.wait_held(container, 3 * MIB)
        self.assertEqual(self.daemon.pids(), {container.pid})
        self.assertEqual(self.daemon.value("device0", "dram_used"), 3 * MIB)
        self.assertEqual(self.stat("device0")["dram_unattributed"], 0)
        self.assertEqual(self.daemon.text("pids", container.pid, "source"), "tt-metal\n")
        container.file.slot(0, 1, dram=4 * MIB)
        self.assertEqual(self.held(container), 4 * MIB)
        self.assertWell()

    def test_the_simulator_in_a_container(self):
        sim = Inside("unshare", "--pid", "--mount", "--fork", "--kill-child", "sh", "-c",
                     f'{TMPFS} exec "$@"', "sh", f"{harness.BUILD}/ttmem-sim", "--as",
                     "tt-metal", "--model", "resnet50", "--load-ms", "0", "--step-ms", "200000")
        self.open_device(sim)
        self.wait_waiting(sim)
        self.assertAddsUp()
        self.kill(sim)

    def test_containers_for_one_chip_add_up(self):
        containers = [self.container(dram=size * MIB) for size in (1, 2, 4)]
        self.assertEqual({container.inner for container in containers}, {1})
        for container, size in zip(containers, (1, 2, 4)):
            self.wait_held(container, size * MIB)
        host = self.process()
        self.region(self.asic).slot(0, host.pid, dram=8 * MIB)
        self.assertEqual(self.daemon.value("device0", "dram_used"), 15 * MIB)
        self.assertEqual(self.daemon.devices(), ["device0", "device1"])
        self.assertEqual(self.daemon.pids(), {host.pid, *(c.pid for c in containers)})
        self.assertAddsUp()
        self.kill(containers[1])
        self.assertEqual(self.daemon.value("device0", "dram_used"), 13 * MIB)
        self.assertAddsUp()

    def test_a_process_that_the_driver_does_not_list_is_found(self):
        """Its number is looked for in the pid namespaces of those that it lists."""
        container = self.container()
        self.wait_held(container, MIB)
        other = container.enter()
        self.assertNotIn(other.inner, (other.pid, container.inner))
        container.file.slot(5, other.inner, dram=2 * MIB)
        container.file.total(dram=3 * MIB)
        self.wait_held(other, 2 * MIB)
        self.assertEqual(self.daemon.value("device0", "dram_used"), 3 * MIB)
        self.kill(other)
        stat = self.stat("device0")
        self.assertEqual((stat["dram_used"], stat["dram_unattributed"]), (MIB, 2 * MIB))

    def test_a_number_in_a_container_is_not_ours(self):
        container, host = self.container(), self.process()
        container.file.slot(1, host.pid, dram=2 * MIB)
        container.file.slot(2, os.getpid(), dram=4 * MIB)
        self.wait_held(container, MIB)
        self.assertEqual(self.daemon.pids(), {container.pid})
        self.assertEqual(self.daemon.value("device0", "dram_used"), MIB)

    def test_a_killed_process_is_a_ghost_in_there_as_well(self):
        container = self.container()
        others = [container.enter() for _ in range(2)]
        self.open_device(*others)
        for place, other in enumerate(others, 1):
            container.file.slot(place, other.inner, dram=2 * MIB)
        container.file.total(dram=5 * MIB)
        for other in others:
            self.wait_held(other, 2 * MIB)
        self.kill(others[0])
        stat = self.stat("device0")
        self.assertEqual((stat["dram_used"], stat["dram_unattributed"]), (3 * MIB, 2 * MIB))
        self.assertEqual(self.held(others[1]), 2 * MIB)

    def test_nothing_is_left_of_a_container_that_ends(self):
        for _ in range(3):
            container = self.container()
            other = container.enter()
            container.file.slot(1, other.inner, dram=MIB)
            self.wait_held(container, MIB)
            self.wait_held(other, MIB)
            self.assertIn(f"/dev/shm/{region_name(self.asic)}", self.open_in_containers())
            container.file.close()
            container.kill()  # and with the first process all others
            self.wait_gone(container.pid)
            self.wait_gone(other.pid)
            self.driver("--pids", "0:")
            self.opened = []
            eventually(lambda: self.source() and not self.open_in_containers(),
                       "its files to be closed")
        self.assertEqual(self.daemon.value("device0", "dram_used"), 0)
        self.assertEqual(self.stat("device0")["dram_unattributed"], 0)
        self.assertWell()

    def test_a_container_that_closes_its_devices_is_let_go(self):
        container = self.container()
        self.wait_held(container, MIB)
        self.driver("--pids", "0:")
        self.wait_gone(container.pid)
        self.driver("--pids", f"0:{container.pid}")
        self.wait_held(container, MIB)

    def test_a_container_whose_regions_come_later(self):
        container = Container()
        self.open_device(container)
        eventually(lambda: container.pid in self.daemon.pids(), "an untracked process")
        self.assertFalse(self.daemon.exists("pids", container.pid, "dram"))
        file = self.region(self.asic, folder=container.shm)
        file.slot(0, 1, dram=MIB)
        self.wait_held(container, MIB)
        os.unlink(file.path)
        file.slot(0, 1, dram=2 * MIB)
        self.assertEqual(self.held(container), 2 * MIB)

    def test_a_ledger_in_a_container_that_does_not_see_the_socket_is_found(self):
        peer = Program("unshare", "--pid", "--mount", "--fork", "--kill-child", "sh", "-c",
                       f"mount -t tmpfs none {self.daemon.dir}/run && "
                       f"exec {self.daemon.program('peer')}", TTMEM_SOCKET=self.daemon.socket)
        for command in ("start", f"declare 0 asic={self.asic:#x}",
                        "alloc 0 dram 0x1000 4096 weights"):
            peer.send(command)
            self.assertRegex(peer.line(), r"\Aok")
        peer.pid = children(peer.pid)[0]
        self.open_device(peer)
        self.wait_held(peer, 4096)
        self.assertEqual(self.daemon.text("pids", peer.pid, "source"), "native\n")
        self.assertEqual(self.daemon.value("device0", "dram_used"), 4096)
        os.kill(peer.pid, 9)
        self.wait_gone(peer.pid)

    def test_a_container_in_a_container(self):
        inner = ('unshare --pid --mount --fork --kill-child sh -c "mount -t tmpfs none /dev/shm &&'
                 ' echo there && exec cat"; true || ')
        outer = Container(TMPFS + inner)
        deep = eventually(lambda: [pid for child in children(outer.pid)
                                   for pid in children(child)], "the deep one")[0]
        file = self.region(self.asic, folder=f"/proc/{deep}/root/dev/shm")
        file.slot(0, inner_pid(deep), dram=MIB)
        self.driver("--pids", f"0:{outer.pid},{deep}")
        eventually(lambda: self.daemon.exists("pids", deep, "dram"), "the deep one's memory")
        self.assertEqual(self.daemon.value("device0", "dram_used"), MIB)
