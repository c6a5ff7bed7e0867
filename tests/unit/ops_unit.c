/* SPDX-License-Identifier: Apache-2.0 */
/* Each request is answered once, whatever it asks and of whatever inode. */
#include "kernel.h"

/* Every number in the tree, and some that stand for nothing. */
static void collect(const struct model *model, uint64_t ino, GArray *inos)
{
	struct spot dir = spot_at(model, ino);
	GArray *names = list(model, &dir, 0, UINT_MAX);

	for (guint i = 2; i < names->len; i++) {
		const struct name *name = &g_array_index(names, struct name, i);

		g_array_append_val(inos, name->ino);
		if (name->type == S_IFDIR)
			collect(model, name->ino, inos);
	}
	g_array_free(names, TRUE);
}

static GArray *all_inos(struct kernel *kernel)
{
	static const uint64_t others[] = {TREE_ROOT_INO, 0, 15, 4095, 1ull << 40, UINT64_MAX};
	GArray *inos = g_array_new(FALSE, FALSE, sizeof(uint64_t));

	g_array_append_vals(inos, others, G_N_ELEMENTS(others));
	collect(kernel->model, TREE_ROOT_INO, inos);
	return inos;
}

typedef void ask_fn(struct kernel *kernel, struct fuse_req *req, uint64_t ino);

static void ask_lookup(struct kernel *kernel, struct fuse_req *req, uint64_t ino)
{
	kernel->ops.lookup(req, ino, "stat");
}

static void ask_lookup_nothing(struct kernel *kernel, struct fuse_req *req, uint64_t ino)
{
	kernel->ops.lookup(req, ino, "nothing");
}

static void ask_forget(struct kernel *kernel, struct fuse_req *req, uint64_t ino)
{
	kernel->ops.forget(req, ino, 1);
}

static void ask_forget_multi(struct kernel *kernel, struct fuse_req *req, uint64_t ino)
{
	struct fuse_forget_data forgets[] = {{ino, 1}, {ino, UINT64_MAX}};

	kernel->ops.forget_multi(req, 2, forgets);
}

static void ask_getattr(struct kernel *kernel, struct fuse_req *req, uint64_t ino)
{
	kernel->ops.getattr(req, ino, NULL);
}

static void ask_truncate(struct kernel *kernel, struct fuse_req *req, uint64_t ino)
{
	struct stat attr = {0};

	kernel->ops.setattr(req, ino, &attr, FUSE_SET_ATTR_SIZE, NULL);
}

static void ask_chmod(struct kernel *kernel, struct fuse_req *req, uint64_t ino)
{
	struct stat attr = {0};

	kernel->ops.setattr(req, ino, &attr, FUSE_SET_ATTR_MODE, NULL);
	assert_true(req->error == EPERM || req->error == ENOENT);
}

static void ask_readlink(struct kernel *kernel, struct fuse_req *req, uint64_t ino)
{
	kernel->ops.readlink(req, ino);
}

static void ask_readdir(struct kernel *kernel, struct fuse_req *req, uint64_t ino)
{
	kernel->ops.readdir(req, ino, 4096, 0, NULL);
	assert_true(req->bytes->len <= 4096);
}

static void ask_readdir_little(struct kernel *kernel, struct fuse_req *req, uint64_t ino)
{
	kernel->ops.readdir(req, ino, 1, 0, NULL);
	assert_int_equal(req->bytes->len, 0);
}

static void ask_write(struct kernel *kernel, struct fuse_req *req, uint64_t ino)
{
	kernel->ops.write(req, ino, "1\n", 2, 0, NULL);
}

static void ask_statfs(struct kernel *kernel, struct fuse_req *req, uint64_t ino)
{
	kernel->ops.statfs(req, ino);
}

static void ask_to_open_for_writing(struct kernel *kernel, struct fuse_req *req, uint64_t ino)
{
	struct fuse_file_info info = {.flags = O_WRONLY | O_TRUNC};

	kernel->ops.open(req, ino, &info);
	if (!req->error)
		kernel_release(kernel, &req->info);
}

static void ask_all_to_change(struct kernel *kernel, struct fuse_req *req, uint64_t ino)
{
	kernel->ops.mkdir(req, ino, "x", 0);
	assert_int_equal(req->error, EPERM);
	kernel->ops.mknod(req, ino, "x", 0, 0);
	kernel->ops.create(req, ino, "x", 0, NULL);
	kernel->ops.unlink(req, ino, "x");
	kernel->ops.rmdir(req, ino, "x");
	kernel->ops.symlink(req, "x", ino, "x");
	kernel->ops.rename(req, ino, "x", ino, "y", 0);
	kernel->ops.link(req, ino, ino, "x");
	assert_int_equal(req->error, EPERM);
	assert_int_equal(req->answers, 8);
	kernel->ops.ioctl(req, ino, 0, NULL, NULL, 0, NULL, 0, 0);
	assert_int_equal(req->error, ENOTTY);
	assert_int_equal(req->answers, 9);
	req->answers = 1;
}

static ask_fn *const questions[] = {
	ask_lookup,
	ask_lookup_nothing,
	ask_forget,
	ask_forget_multi,
	ask_getattr,
	ask_truncate,
	ask_chmod,
	ask_readlink,
	ask_readdir,
	ask_readdir_little,
	ask_write,
	ask_statfs,
	ask_to_open_for_writing,
	ask_all_to_change,
};

static void each_request_is_answered_once(void **state)
{
	struct kernel *kernel = *state;
	GArray *inos;

	populate(kernel->world);
	inos = all_inos(kernel);
	for (int round = 0; round < 2; round++) {
		for (guint i = 0; i < inos->len; i++)
			for (size_t q = 0; q < G_N_ELEMENTS(questions); q++) {
				struct fuse_req *req = req_new(kernel);

				questions[q](kernel, req, g_array_index(inos, uint64_t, i));
				req_end(req);
			}
		for (pid_t pid = 1; pid <= 6; pid++) /* and once more when they are gone */
			if (model_process_by_pid(kernel->model, pid))
				world_leave(kernel->world,
					    model_process_by_pid(kernel->model, pid));
	}
	g_array_free(inos, TRUE);
}

static void each_file_can_be_opened_read_and_closed(void **state)
{
	struct kernel *kernel = *state;
	unsigned int texts = 0, silent = 0;
	GArray *inos;

	populate(kernel->world);
	inos = all_inos(kernel);
	for (guint i = 0; i < inos->len; i++) {
		struct fuse_req *open =
			kernel_open(kernel, g_array_index(inos, uint64_t, i), O_RDONLY);
		struct fuse_file_info info = open->info;
		struct fuse_req *read;

		if (req_end(open))
			continue;
		texts++;
		read = kernel_read(kernel, &info, 1 << 17, 0);
		if (read->bytes->len)
			assert_int_equal(read->bytes->str[read->bytes->len - 1], '\n');
		else
			silent++;
		assert_int_equal(req_end(read), 0);
		assert_int_equal(kernel_release(kernel, &info), 0);
	}
	assert_true(texts > 300);
	assert_int_equal(silent, g_tree_nnodes(kernel->model->devices)); /* no request has failed */
	g_array_free(inos, TRUE);
}

static void what_the_kernel_has_forgotten_is_forgotten(void **state)
{
	struct kernel *kernel = *state;
	struct fuse_req *req = req_new(kernel);
	uint64_t ino;

	populate(kernel->world);
	kernel_walk(kernel, "pids/1/stat");
	ino = kernel_walk(kernel, "pids/1/stat");
	assert_int_equal(g_hash_table_size(kernel->fs.nodes), 3);
	node_forget(&kernel->fs, ino, 1);
	assert_non_null(node_find(&kernel->fs, ino));
	node_forget(&kernel->fs, ino, 1);
	assert_null(node_find(&kernel->fs, ino));
	node_forget(&kernel->fs, ino, 1); /* never mind */
	req->interrupted = true;          /* then no forget will come */
	kernel->ops.lookup(req, TREE_ROOT_INO, "status");
	assert_null(node_find(&kernel->fs, req->ino));
	req_end(req);
}

/* A newcomer's devices take the room of one that nobody uses. */
static void evict(struct world *world)
{
	for (uint64_t asic = 1; asic <= MODEL_MAX_DEVICES_PER_USER; asic++) {
		world_now_ns++;
		world_device(world, 0, 0xbeef00 + asic, 1000);
	}
}

static void a_device_may_go_while_somebody_writes_to_its_file(void **state)
{
	struct kernel *kernel = *state;
	struct fuse_req *req = req_new(kernel);
	uint64_t serial = world_device(kernel->world, 0, 0xa, 1000)->serial;
	uint64_t ino = kernel_walk(kernel, "device0/dram_peak");

	kernel->world->on_sync = evict;
	kernel->ops.write(req, ino, "1\n", 2, 0, NULL);
	assert_null(model_device(kernel->model, serial));
	assert_int_equal(req_end(req), ESRCH);
}

static struct stat stat_of(struct kernel *kernel, const char *path)
{
	struct fuse_req *req = req_new(kernel);
	struct stat attr;

	kernel->ops.getattr(req, kernel_walk(kernel, path), NULL);
	attr = req->attr;
	assert_int_equal(req_end(req), 0);
	return attr;
}

static void metrics_are_of_now_whenever_they_are_looked_at(void **state)
{
	struct kernel *kernel = *state;
	const long sample = (long)(WORLD_NOW / 1000000000u), later = sample + 1000;
	struct fuse_req *req = kernel_open(kernel, kernel_walk(kernel, "metrics/ttmem.prom"), 0);

	assert_int_equal(stat_of(kernel, "metrics/ttmem.prom").st_mtime, sample);
	world_now_ns += 1000000000000u;
	assert_int_equal(stat_of(kernel, "metrics/ttmem.prom").st_mtime, later);
	assert_int_equal(stat_of(kernel, "metrics/ttmem_pids.prom").st_mtime, later);
	assert_int_equal(stat_of(kernel, "metrics").st_mtime, sample);
	assert_int_equal(stat_of(kernel, "summary").st_mtime, sample);
	kernel_release(kernel, &req->info);
	req_end(req);
}

static void metrics_by_process_are_for_a_group_of_their_own(void **state)
{
	struct kernel *kernel = *state;
	struct stat attr;

	kernel->model->group = 7;
	kernel->fs.metrics_group = 8;
	attr = stat_of(kernel, "metrics/ttmem_pids.prom");
	assert_int_equal(attr.st_gid, 8);
	assert_int_equal(attr.st_mode, S_IFREG | 0440);
	attr = stat_of(kernel, "metrics/ttmem.prom");
	assert_int_equal(attr.st_gid, 7);
	assert_int_equal(attr.st_mode, S_IFREG | 0444);
}

static void writing_starts_a_peak_afresh(void **state)
{
	struct kernel *kernel = *state;
	struct fuse_req *req = req_new(kernel);
	struct device *device = world_device(kernel->world, 0, 0xa, 1000);

	device->peak_bytes[TTMEM_DRAM] = 100;
	device->peak_bytes[TTMEM_L1] = 100;
	kernel->ops.write(req, kernel_walk(kernel, "device0/dram_peak"), "", 0, 0, NULL);
	assert_int_equal(req_end(req), 0);
	assert_int_equal(device->peak_bytes[TTMEM_DRAM], 0);
	assert_int_equal(device->peak_bytes[TTMEM_L1], 100);
}

static int write_at(struct kernel *kernel, const char *text, off_t offset, int flags)
{
	struct fuse_file_info info = {.flags = flags};
	struct fuse_req *req = req_new(kernel);

	kernel->ops.write(req, kernel_walk(kernel, "device0/dram_high"), text, strlen(text), offset,
			  &info);
	return req_end(req);
}

static void each_write_of_a_threshold_is_a_whole(void **state)
{
	struct kernel *kernel = *state;
	struct device *device = world_device(kernel->world, 0, 0xa, 1000);
	const uint64_t *bytes = &device->thresholds[TTMEM_DRAM].bytes;

	assert_int_equal(write_at(kernel, "12\n", 0, O_WRONLY), 0);
	assert_int_equal(*bytes, 12);
	assert_int_equal(write_at(kernel, "3\n", 2, O_WRONLY), EINVAL);
	assert_int_equal(write_at(kernel, "x\n", 0, O_WRONLY), EINVAL);
	assert_int_equal(*bytes, 12);
	assert_int_equal(write_at(kernel, "34\n", 4096, O_WRONLY | O_APPEND), 0);
	assert_int_equal(*bytes, 34);
}

static int lookup_in(struct kernel *kernel, uint64_t dir, const char *name)
{
	struct fuse_req *req = req_new(kernel);

	kernel->ops.lookup(req, dir, name);
	return req_end(req);
}

static int open_of(struct kernel *kernel, uint64_t ino)
{
	return req_end(kernel_open(kernel, ino, O_RDONLY));
}

static struct device *device_comes(struct kernel *kernel)
{
	return world_device(kernel->world, 0, 0xa, 1000);
}

static void device_goes(struct kernel *kernel, struct device *device)
{
	model_device_forget(kernel->model, &kernel->world->source, device);
}

static void a_device_that_has_gone_is_stale_only_when_another_has_its_name(void **state)
{
	struct kernel *kernel = *state;
	struct device *device = device_comes(kernel);
	uint64_t dir, file;

	world_now_ns += 3000000000u;
	dir = kernel_walk(kernel, "device0");
	file = kernel_walk(kernel, "device0/dram_used");
	device_goes(kernel, device);
	assert_int_equal(lookup_in(kernel, dir, "dram_used"), ENOENT);
	assert_int_equal(open_of(kernel, file), ENOENT);
	device_comes(kernel);
	assert_int_equal(lookup_in(kernel, dir, "dram_used"), ESTALE);
	assert_int_equal(open_of(kernel, file), ESTALE);
}

/* The kernel asks again once, and hands the second ESTALE to whoever reads. */
static void nobody_is_told_twice_that_a_name_is_stale(void **state)
{
	struct kernel *kernel = *state;
	struct device *device = device_comes(kernel);

	world_now_ns += 3000000000u;
	for (int time = 0; time < 4; time++) {
		uint64_t dir = kernel_walk(kernel, "device0");

		device_goes(kernel, device);
		device = device_comes(kernel);
		assert_int_equal(lookup_in(kernel, dir, "dram_used"), time ? ENOENT : ESTALE);
		world_now_ns += 100000000;
	}
}

static void a_process_that_has_gone_is_never_stale(void **state)
{
	struct kernel *kernel = *state;
	struct process *process = world_process(kernel->world, 7, 1000);
	uint64_t dir = kernel_walk(kernel, "pids/7");
	uint64_t file = kernel_walk(kernel, "pids/7/dram");

	world_leave(kernel->world, process);
	assert_int_equal(lookup_in(kernel, dir, "dram"), ENOENT);
	assert_int_equal(open_of(kernel, file), ENOENT);
	world_process(kernel->world, 8, 1000);
	assert_int_equal(lookup_in(kernel, dir, "dram"), ENOENT);
	world_process(kernel->world, 7, 1000);
	assert_int_equal(lookup_in(kernel, dir, "dram"), ENOENT);
	assert_int_equal(open_of(kernel, file), ENOENT);
}

static void what_has_gone_of_who_is_there_is_not_stale(void **state)
{
	struct kernel *kernel = *state;
	struct process *process = world_process(kernel->world, 7, 1000);
	struct device *device = world_device(kernel->world, 0, 0xa, 1000);
	uint64_t dir, file;

	world_hold(kernel->world, process, device, 0);
	dir = kernel_walk(kernel, "pids/7/device0");
	file = kernel_walk(kernel, "pids/7/device0/dram");
	model_let_go(kernel->model, &kernel->world->source, process_holding(process, device));
	assert_int_equal(lookup_in(kernel, dir, "dram"), ENOENT);
	assert_int_equal(open_of(kernel, file), ENOENT);
}

/* At how many processes the sources look for it. */
static unsigned int looks_for(struct kernel *kernel, ask_fn *ask, uint64_t ino)
{
	struct fuse_req *req = req_new(kernel);
	unsigned int before = kernel->world->looks;

	ask(kernel, req, ino);
	assert_int_equal(req_end(req), 0);
	return kernel->world->looks - before;
}

static void ask_to_read(struct kernel *kernel, struct fuse_req *req, uint64_t ino)
{
	struct fuse_req *open = kernel_open(kernel, ino, O_RDONLY);

	kernel->ops.read(req, ino, 1 << 17, 0, &open->info);
	kernel_release(kernel, &open->info);
	assert_int_equal(req_end(open), 0);
}

static void ask_lookup_1(struct kernel *kernel, struct fuse_req *req, uint64_t ino)
{
	kernel->ops.lookup(req, ino, "1");
}

static void who_reads_of_one_process_has_the_others_left_alone(void **state)
{
	struct kernel *kernel = *state;
	uint64_t pids, dir, file, table, device;

	populate(kernel->world);
	assert_int_equal(kernel->world->fakes->len, 6);
	pids = kernel_walk(kernel, "pids");
	dir = kernel_walk(kernel, "pids/1");
	file = kernel_walk(kernel, "pids/1/dram");
	table = kernel_walk(kernel, "pids/1/stat");
	device = kernel_walk(kernel, "device0");
	assert_int_equal(looks_for(kernel, ask_lookup_1, pids), 0);
	assert_int_equal(looks_for(kernel, ask_readdir, pids), 0);
	assert_int_equal(looks_for(kernel, ask_lookup, dir), 1);
	assert_int_equal(looks_for(kernel, ask_readdir, dir), 1);
	assert_int_equal(looks_for(kernel, ask_getattr, file), 1);
	assert_int_equal(looks_for(kernel, ask_to_read, file), 1); /* it is followed already */
	assert_int_equal(looks_for(kernel, ask_to_read, table),
			 3); /* at open, for its text, anew */
	assert_int_equal(looks_for(kernel, ask_lookup, device), 6);
	assert_int_equal(looks_for(kernel, ask_readdir, TREE_ROOT_INO), 6);
}

static void newcomer(struct world *world)
{
	struct process *process = world_process(world, 2, 1000);

	world->on_sync = NULL;
	world_hold(world, process, model_device_numbered(&world->model, 0), 0);
	world_set(process, 0, TTMEM_DRAM, 4096, 1);
}

/* A failed request shows in sums, whoever looks at them: so nobody does before all are known who
 * may have to be in the report. */
static void who_has_just_come_is_in_the_report_of_a_failed_request(void **state)
{
	struct kernel *kernel = *state;
	struct process *process = world_process(kernel->world, 1, 1000);
	struct device *device = world_device(kernel->world, 0, 0xa, 1000);
	struct fuse_req *req;
	uint64_t ino;

	world_hold(kernel->world, process, device, 0);
	ino = kernel_walk(kernel, "device0/oom");
	kernel->world->on_sync = newcomer;
	fake_of(process)->amounts[0][TTMEM_DRAM].failures = 1;
	req = req_new(kernel);
	kernel->ops.getattr(req, ino, NULL);
	assert_int_equal(req_end(req), 0);
	assert_non_null(device->oom);
	assert_int_equal(device->oom->holder_count, 1);
	assert_int_equal(device->oom->holders[0].pid, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KERNEL_TEST(each_request_is_answered_once),
		KERNEL_TEST(each_file_can_be_opened_read_and_closed),
		KERNEL_TEST(what_the_kernel_has_forgotten_is_forgotten),
		KERNEL_TEST(a_device_may_go_while_somebody_writes_to_its_file),
		KERNEL_TEST(metrics_are_of_now_whenever_they_are_looked_at),
		KERNEL_TEST(metrics_by_process_are_for_a_group_of_their_own),
		KERNEL_TEST(writing_starts_a_peak_afresh),
		KERNEL_TEST(each_write_of_a_threshold_is_a_whole),
		KERNEL_TEST(a_device_that_has_gone_is_stale_only_when_another_has_its_name),
		KERNEL_TEST(nobody_is_told_twice_that_a_name_is_stale),
		KERNEL_TEST(a_process_that_has_gone_is_never_stale),
		KERNEL_TEST(what_has_gone_of_who_is_there_is_not_stale),
		KERNEL_TEST(who_reads_of_one_process_has_the_others_left_alone),
		KERNEL_TEST(who_has_just_come_is_in_the_report_of_a_failed_request),
	};

	return RUN(tests);
}
