# SPDX-License-Identifier: Apache-2.0
"""Both ways to report TT-Metal's buffers, compiled with the stand-in and run."""
import builds
from drivers import Driver, DriverTest

KIB = 1 << 10


def setUpModule():
    builds.made()


class Common:
    def test_buffers_of_every_kind_come_and_go(self):
        kinds = ("dram", "l1", "system", "l1_small", "trace")
        for number, kind in enumerate(kinds, 1):
            self.driver(f"create {kind} 0 {kind} {number * KIB}")
        for number, kind in enumerate(kinds, 1):
            self.assertEqual(self.driver.live(0, kind), (number * KIB, 1))
            self.driver(f"free {kind}")
            self.assertEqual(self.driver.live(0, kind), (0, 0))
        self.assertEqual(self.driver.live(1, "dram"), (0, 0))

    def test_a_meshs_buffer_has_its_size_on_each_device(self):
        self.driver("create a mesh dram 4096")
        for device in (0, 1):
            self.assertEqual(self.driver.live(device, "dram"), (4096, 1))
        self.assertEqual(self.driver.live(40, "dram"), (0, 0))
        self.driver("free a")
        for device in (0, 1):
            self.assertEqual(self.driver.live(device, "dram"), (0, 0))

    def test_views_are_not_reported(self):
        self.driver("create a mesh l1 4096", "view v 0 a", "view w 1 a")
        self.assertEqual(self.driver.live(0, "l1"), (4096, 1))
        self.driver("free v", "free w")
        self.assertEqual(self.driver.live(0, "l1"), (4096, 1))
        self.driver("view v 0 a", "free a")
        self.assertEqual(self.driver.live(0, "l1"), (0, 0))
        self.driver("free v")

    def test_a_buffer_that_a_capture_keeps_takes_no_memory(self):
        self.driver("hook 1", "create a 0 dram 4096", "create b 0 dram 4096", "hook 0")
        self.assertEqual(self.driver.live(0, "dram"), (0, 0))
        self.driver("create c 0 dram 512", "free a", "free b")
        self.assertEqual(self.driver.live(0, "dram"), (512, 1))

    def test_nothing_is_nothing(self):
        self.driver("create a 0 dram 0", "free a")
        self.assertEqual(self.driver.numbers("totals 0 dram")["ever"], 0)

    def test_a_kind_that_is_not_known_is_not_taken_for_another(self):
        self.driver("create a 0 cb 64")
        self.assertEqual(self.driver.refuses("create b 0 cb 0x4000000000"), "error out of memory")
        totals = self.driver.numbers("totals 0 cb")
        self.assertEqual((totals["ever"], totals["failures"]), (0, 0))
        self.driver("free a")

    def test_one_address_in_two_allocators_is_two_buffers(self):
        first = self.driver("create a 0 l1 4096")
        self.assertEqual(self.driver("create-in b 0 l1 1024 sub-device"), first)
        self.assertEqual(self.driver("create c mesh l1 512"), first)
        self.assertEqual(self.driver.live(0, "l1"), (4096 + 1024 + 512, 3))
        self.driver("free a")
        self.assertEqual(self.driver.live(0, "l1"), (1024 + 512, 2))
        self.driver("free c", "free b")
        self.assertEqual(self.driver.live(0, "l1"), (0, 0))

    def test_each_buffer_counts_once(self):
        self.driver("create a 0 dram 4096", "free a", "create a 0 dram 4096", "create b 0 dram 64")
        totals = self.driver.numbers("totals 0 dram")
        self.assertEqual((totals["ever"], totals["buffers"], totals["bytes"]), (3, 2, 4160))

    def test_with_tracking_off_nothing_is_reported(self):
        self.driver.close()
        self.driver = Driver(self.name, TTMEM="0")
        if self.attach:
            self.driver(*self.attach)
        self.driver("begin op", "create a mesh dram 4096", "free a", "end", "create b 0 l1 64")
        self.assertEqual(self.driver.refuses("create c 0 dram 0x4000000000"), "error out of memory")
        self.assertEqual(self.driver.numbers("totals 0 dram")["error"], -107)


class Hooks(Common, DriverTest):
    def test_every_thread_is_seen(self):
        self.driver("in-thread create a 0 dram 4096", "in-thread create b 0 dram 8192")
        self.assertEqual(self.driver.live(0, "dram"), (12288, 2))
        self.driver("free a", "in-thread free b")
        self.assertEqual(self.driver.live(0, "dram"), (0, 0))

    def test_many_threads_at_once(self):
        self.driver("storm 4 2000 mesh")
        for device in (0, 1):
            totals = self.driver.numbers(f"totals {device} l1")
            self.assertEqual((totals["ever"], totals["bytes"], totals["buffers"]), (8000, 0, 0))

    def test_a_failure_is_reported_and_goes_on_to_the_caller(self):
        self.driver("create a mesh dram 4096")
        self.assertEqual(self.driver.refuses("create b mesh dram 0x4000000000"),
                         "error out of memory")
        for device in (0, 1):
            totals = self.driver.numbers(f"totals {device} dram")
            self.assertEqual((totals["failures"], totals["bytes"]), (1, 4096))
        self.assertEqual(self.driver.refuses("create c 0 l1 0x4000000000"), "error out of memory")
        self.assertEqual(self.driver.numbers("totals 0 l1")["failures"], 1)
        self.assertEqual(self.driver.numbers("totals 1 l1")["failures"], 0)

    def test_a_forked_child_has_books_of_its_own(self):
        self.driver("create a 0 dram 4096")
        answer = self.driver("in-child create b 0 dram 1024;free a;totals 0 dram")
        self.assertIn("bytes=1024 buffers=1", answer)
        answer = self.driver("in-child free a;create b 0 dram 4096;totals 0 dram")
        self.assertIn("bytes=4096 buffers=1", answer)
        self.assertIn("unknown=0", self.driver("in-child create b 0 dram 64;free a;errors"))
        self.assertEqual(self.driver.live(0, "dram"), (4096, 1))


class OneThread(Common, DriverTest):
    name, attach = "processor", ("attach",)

    def test_it_is_no_capture(self):
        self.assertEqual(self.driver("captures"), "no")

    def test_a_thread_without_it_is_not_seen(self):
        self.driver("in-thread create a 0 dram 4096")
        self.assertEqual(self.driver.live(0, "dram"), (0, 0))

    def test_a_free_of_what_it_never_saw_does_no_harm(self):
        self.driver("in-thread create a mesh dram 4096", "create b mesh dram 64", "free a")
        self.assertEqual(self.driver.live(0, "dram"), (64, 1))

    def test_what_was_freed_unseen_goes_when_its_address_comes_back(self):
        first = self.driver("create a mesh dram 4096")
        self.driver("in-thread free a")
        self.assertEqual(self.driver.live(1, "dram"), (4096, 1))
        self.assertEqual(self.driver("create b mesh dram 64"), first)
        self.assertEqual(self.driver.live(1, "dram"), (64, 1))
        self.driver("free b")
        self.assertEqual(self.driver.live(1, "dram"), (0, 0))

    def test_threads_that_have_it_are_one(self):
        self.driver("in-thread attach;create a 0 dram 4096", "free a",
                    "create b 0 dram 64", "in-thread attach;free b")
        totals = self.driver.numbers("totals 0 dram")
        self.assertEqual((totals["ever"], totals["bytes"]), (2, 0))

    def test_what_the_thread_pool_carries_over_is_seen(self):
        self.driver("carried create a 0 dram 4096", "carried cb 0 local 0x100 64 0 0 1 0")
        self.assertEqual(self.driver.live(0, "dram"), (4096, 1))
        self.assertEqual(self.driver.live(0, "cb"), (128, 1))

    def test_attaching_again_changes_nothing(self):
        self.driver("attach", "detach", "create a 0 dram 4096")
        self.assertEqual(self.driver.live(0, "dram"), (0, 0))

    def test_one_more_on_the_stack_counts_nothing_twice(self):
        self.driver("push-another", "create a mesh dram 4096", "cb mesh local 0x100 64 0 0 0 0")
        for device in (0, 1):
            self.assertEqual(self.driver.live(device, "dram"), (4096, 1))
            self.assertEqual(self.driver.live(device, "cb"), (64, 1))
            self.assertEqual(self.driver.numbers(f"totals {device} dram")["ever"], 1)


class CircularBuffers(DriverTest):
    name, attach = "processor", ("attach",)

    def test_the_size_is_that_of_all_cores(self):
        self.driver("cb 0 local 0x1000 100 0 0 7 3", "cb 0 local 0x2000 10 0 0 0 0 3 3 4 4")
        self.assertEqual(self.driver.live(0, "cb"), (100 * 32 + 10 * 5, 2))
        self.assertEqual(self.driver.live(1, "cb"), (0, 0))

    def test_what_lies_in_a_buffer_counts_there(self):
        self.driver("create a 0 l1 4096", "cb 0 global 0x1000 100 0 0 7 3",
                    "cb 0 borrowed 0x1000 100 0 0 7 3")
        self.assertEqual(self.driver.live(0, "cb"), (0, 0))

    def test_other_memory_of_programs_counts_with_them(self):
        self.driver("cb 0 dataflow 0x1000 100 0 0 1 0", "cb 0 scratchpad 0x2000 10 0 0 1 0")
        self.assertEqual(self.driver.live(0, "cb"), (220, 2))
        self.driver("cb-free 0")
        self.assertEqual(self.driver.live(0, "cb"), (0, 0))

    def test_all_of_a_device_go_at_once(self):
        self.driver("cb 0 local 0x1000 100 0 0 1 0", "cb 0 local 0x2000 100 0 0 1 0",
                    "cb 1 local 0x1000 100 0 0 1 0", "cb-free 0")
        self.assertEqual(self.driver.live(0, "cb"), (0, 0))
        self.assertEqual(self.driver.live(1, "cb"), (200, 1))
        self.driver("cb-free 0", "cb-free 1", "cb-free mesh")
        self.assertEqual(self.driver.live(1, "cb"), (0, 0))
        self.driver("cb 0 local 0x1000 100 0 0 1 0")
        self.assertEqual(self.driver.live(0, "cb"), (200, 1))

    def test_a_mesh_has_them_on_each_device(self):
        self.driver("cb mesh local 0x1000 100 0 0 1 0")
        for device in (0, 1):
            self.assertEqual(self.driver.live(device, "cb"), (200, 1))
        self.driver("cb-free 1")
        self.assertEqual(self.driver.live(0, "cb"), (200, 1))
        self.driver("cb-free mesh")
        self.assertEqual(self.driver.live(0, "cb"), (0, 0))

    def test_bytes_that_programs_share_count_once(self):
        steps = (("0x1000 0x100 0 0 0 0", 0x100), ("0x1000 0x100 0 0 0 0", 0),
                 ("0x1000 0x100 0 0 1 0", 0x100),   # one core more
                 ("0x1080 0x100 0 0 0 0", 0x80),    # half of it is new
                 ("0x0f80 0x100 0 0 0 0", 0x80),
                 ("0x3000 0x100 0 0 0 0", 0x100),
                 ("0x0f00 0x2200 0 0 0 0", 0x2200 - 0x200 - 0x100),  # over all gaps
                 ("0x0f00 0x2200 0 0 0 0", 0),
                 ("0x3100 0x10 0 0 0 0", 0x10))     # just behind
        expected = 0
        for where, fresh in steps:
            expected += fresh
            self.driver(f"cb 0 local {where}")
            self.assertEqual(self.driver.live(0, "cb")[0], expected, where)

    def test_what_cannot_be_is_nothing(self):
        self.driver("cb 0 local 0xffffffffffffff00 0x1000 0 0 0 0", "cb 0 local 0x1000 0 0 0 0 0",
                    "cb 0 local 0x1000 16")
        self.assertEqual(self.driver.live(0, "cb"), (0, 0))


class EarlierReleases(Common, DriverTest):
    name, attach = "earlier", ("attach", "attach")

    def test_attaching_again_changes_nothing(self):
        self.driver("detach", "create a 0 dram 4096")
        self.assertEqual(self.driver.live(0, "dram"), (0, 0))

    def test_circular_buffers_are_seen(self):
        self.driver("cb 0 local 0x1000 100 0 0 7 3")
        self.assertEqual(self.driver.live(0, "cb"), (3200, 1))


class BothAtOnce(Common, DriverTest):
    name, attach = "both", ("attach",)

    def test_every_thread_is_seen(self):
        self.driver("in-thread create a 0 dram 4096", "create b 0 dram 64", "in-thread free b")
        self.assertEqual(self.driver.live(0, "dram"), (4096, 1))

    def test_many_threads_at_once(self):
        self.driver("storm 4 500 mesh")
        self.assertEqual(self.driver.numbers("totals 1 l1")["ever"], 2000)
        self.assertEqual(self.driver.live(1, "l1"), (0, 0))


class BothWithItsPart(BothAtOnce):
    attach = ("attach-ops",)


class AloneItsPartIsOperations(DriverTest):
    name, attach = "processor", ("attach-ops",)

    def test_buffers_are_left_to_the_hooks(self):
        self.driver("create a 0 dram 4096", "cb 0 local 0x1000 100 0 0 1 0")
        self.assertEqual(self.driver.live(0, "dram"), (0, 0))
        self.assertEqual(self.driver.live(0, "cb"), (200, 1))
