/* SPDX-License-Identifier: Apache-2.0 */
/* Who finds what, with hidepid: modes, lookups, listings and attributes for several readers. */
#include "groups.h"
#include "kernel.h"

#define GROUP 7000u

/* Processes 1 and 2 are user 1000's, 3 and 4 user 1001's; all use device0. */
static void populate_two(struct kernel *kernel, enum hidepid_mode mode, bool has_group)
{
	struct world *world = kernel->world;

	for (pid_t pid = 1; pid <= 4; pid++)
		world_hold(world, world_process(world, pid, pid <= 2 ? 1000 : 1001),
			   world_device(world, 0, 0xa, 1000), 0);
	kernel->model->group = 50;
	kernel->model->hidepid = (struct hidepid){mode, has_group, has_group ? GROUP : 0};
}

struct reader_case {
	uid_t uid;
	gid_t gid;
	bool sees[5]; /* by pid */
};

static const struct reader_case readers[] = {
	{0, 0, {0, true, true, true, true}},
	{WORLD_OWNER, 100, {0, true, true, true, true}},
	{1000, 100, {0, true, true, false, false}},
	{1001, 100, {0, false, false, true, true}},
	{1002, 50, {0, false, false, false, false}},
	{1002, GROUP, {0, true, true, true, true}},
};

static void read_as(struct kernel *kernel, const struct reader_case *reader)
{
	kernel->uid = reader->uid;
	kernel->gid = reader->gid;
	kernel->tid = 0;
}

/* The request is answered, and still there. */
static struct fuse_req *lookup(struct kernel *kernel, uint64_t dir, const char *name)
{
	struct fuse_req *req = req_new(kernel);

	kernel->ops.lookup(req, dir, name);
	return req;
}

static struct fuse_req *getattr(struct kernel *kernel, uint64_t ino)
{
	struct fuse_req *req = req_new(kernel);

	kernel->ops.getattr(req, ino, NULL);
	return req;
}

static void assert_mode(struct kernel *kernel, const char *path, mode_t mode, gid_t group)
{
	struct fuse_req *req = getattr(kernel, look(kernel->model, path));

	/* An ordinary user's hands write in directories and files that tell, whatever they may be
	 * for others. */
	assert_int_equal(req->attr.st_mode & 07777 & ~(mode_t)(mode & S_IWUSR ? 0 : S_IWUSR), mode);
	assert_int_equal(req->attr.st_gid, group);
	assert_int_equal(req->attr.st_uid, strncmp(path, "pids/1", 6) ? WORLD_OWNER : 1000);
	assert_int_equal(req_end(req), 0);
}

static void what_names_processes_is_for_the_group(void **state)
{
	struct kernel *kernel = *state;

	kernel->uid = 0;
	populate_two(kernel, HIDEPID_NOACCESS, true);
	assert_mode(kernel, "pids/1", 0550, GROUP);
	assert_mode(kernel, "pids/1/device0", 0550, GROUP);
	assert_mode(kernel, "pids/1/dram", 0444, 100);
	assert_mode(kernel, "pids/1/buffers", 0400, 100);
	assert_mode(kernel, "device0/pids", 0550, GROUP);
	assert_mode(kernel, "summary", 0440, GROUP);
	assert_mode(kernel, "exited", 0440, GROUP);
	assert_mode(kernel, "pids", 0555, 50);
	assert_mode(kernel, "device0", 0555, 50);
	assert_mode(kernel, "device0/dram_peak", 0644, 50);
	assert_mode(kernel, "device0/stat", 0444, 50);
	assert_mode(kernel, "status", 0444, 50);
}

static void without_a_group_it_is_for_the_owner(void **state)
{
	struct kernel *kernel = *state;

	kernel->uid = 0;
	populate_two(kernel, HIDEPID_INVISIBLE, false);
	assert_mode(kernel, "pids/1", 0500, 100);
	assert_mode(kernel, "pids/1/device0", 0500, 100);
	assert_mode(kernel, "device0/pids", 0500, 50);
	assert_mode(kernel, "summary", 0400, 50);
	assert_mode(kernel, "exited", 0400, 50);
	assert_mode(kernel, "device0/stat", 0444, 50);
}

static void nothing_is_private_when_it_is_off(void **state)
{
	struct kernel *kernel = *state;

	populate_two(kernel, HIDEPID_OFF, true);
	assert_mode(kernel, "pids/1", 0555, 100);
	assert_mode(kernel, "device0/pids", 0555, 50);
	assert_mode(kernel, "summary", 0444, 50);
}

static void assert_listed(struct kernel *kernel, const char *path, const bool sees[5])
{
	struct reader reader = {.uid = kernel->uid, .gid = kernel->gid};
	struct spot dir = spot_at(kernel->model, look(kernel->model, path));
	GArray *names = list_as(kernel->model, &dir, &reader, 0, UINT_MAX);
	bool seen[5] = {0};

	for (guint i = 0; i < names->len; i++)
		seen[strtoul(g_array_index(names, struct name, i).text, NULL, 10) % 5] = true;
	for (int pid = 1; pid <= 4; pid++)
		assert_int_equal(seen[pid], sees[pid]);
	g_array_free(names, TRUE);
}

static void assert_found(struct kernel *kernel, const char *path, const bool sees[5])
{
	uint64_t dir = look(kernel->model, path);

	for (int pid = 1; pid <= 4; pid++) {
		char name[2] = {(char)('0' + pid), 0};

		assert_int_equal(req_end(lookup(kernel, dir, name)), sees[pid] ? 0 : ENOENT);
	}
	assert_int_equal(req_end(lookup(kernel, dir, "5")), ENOENT);
}

static void each_reader_finds_his_own_and_who_is_exempt_all(void **state)
{
	struct kernel *kernel = *state;

	populate_two(kernel, HIDEPID_INVISIBLE, true);
	for (size_t i = 0; i < G_N_ELEMENTS(readers); i++) {
		read_as(kernel, &readers[i]);
		assert_listed(kernel, "pids", readers[i].sees);
		assert_listed(kernel, "device0/pids", readers[i].sees);
		assert_found(kernel, "pids", readers[i].sees);
		assert_found(kernel, "device0/pids", readers[i].sees);
	}
}

static void without_invisible_everybody_finds_all(void **state)
{
	static const bool all[5] = {0, true, true, true, true};
	struct kernel *kernel = *state;

	populate_two(kernel, HIDEPID_NOACCESS, true);
	for (size_t i = 0; i < G_N_ELEMENTS(readers); i++) {
		read_as(kernel, &readers[i]);
		assert_listed(kernel, "pids", all);
		assert_found(kernel, "pids", all);
	}
}

/* By its number, too: as a directory's handle is passed on, or when a cached name leads there. */
static void a_hidden_process_is_not_there_by_number(void **state)
{
	static const char *const paths[] = {"pids/1", "pids/1/device0", "device0/pids/1"};
	struct kernel *kernel = *state;
	uint64_t file;

	populate_two(kernel, HIDEPID_INVISIBLE, true);
	file = look(kernel->model, "pids/1/dram");
	for (size_t i = 0; i < G_N_ELEMENTS(readers); i++) {
		int want = readers[i].sees[1] ? 0 : ENOENT;
		struct fuse_req *req;

		read_as(kernel, &readers[i]);
		for (size_t p = 0; p < G_N_ELEMENTS(paths); p++)
			assert_int_equal(req_end(getattr(kernel, look(kernel->model, paths[p]))),
					 want);
		assert_int_equal(req_end(lookup(kernel, look(kernel->model, "pids/1"), "dram")),
				 want);
		req = req_new(kernel);
		kernel->ops.readlink(req, look(kernel->model, "device0/pids/1"));
		assert_int_equal(req_end(req), want);
		req = req_new(kernel);
		kernel->ops.readdir(req, look(kernel->model, "pids/1"), 4096, 0, NULL);
		assert_int_equal(req_end(req), want);
		req = kernel_open(kernel, file, O_RDONLY);
		if (!req->error)
			kernel_release(kernel, &req->info);
		assert_int_equal(req_end(req), want);
	}
}

static void what_is_hidden_is_never_kept_by_the_kernel(void **state)
{
	static const char *const kept[] = {"status", "device0/stat", "pids"};
	struct kernel *kernel = *state;
	struct fuse_req *req;

	kernel->uid = 0;
	populate_two(kernel, HIDEPID_INVISIBLE, true);
	for (const char *const *name = (const char *const[]){"dram", "stat", "device0", NULL};
	     *name; name++) {
		req = lookup(kernel, look(kernel->model, "pids/1"), *name);
		assert_true(req->entry_timeout == 0 && req->attr_timeout == 0);
		assert_int_equal(req_end(req), 0);
	}
	req = lookup(kernel, look(kernel->model, "pids"), "1");
	assert_true(req->entry_timeout == 0 && req->attr_timeout == 0);
	assert_int_equal(req_end(req), 0);
	for (size_t i = 0; i < G_N_ELEMENTS(kept); i++) {
		char *dir = g_path_get_dirname(kept[i]), *name = g_path_get_basename(kept[i]);

		req = lookup(kernel, *dir == '.' ? TREE_ROOT_INO : look(kernel->model, dir), name);
		assert_true(req->entry_timeout > 0);
		assert_int_equal(req_end(req), 0);
		g_free(dir);
		g_free(name);
	}
}

/* Reads the whole file, and returns its length. */
static size_t read_file(struct kernel *kernel, uint64_t ino)
{
	struct fuse_req *open = kernel_open(kernel, ino, O_RDONLY), *read;
	struct fuse_file_info info = open->info;
	size_t length;

	assert_int_equal(req_end(open), 0);
	read = kernel_read(kernel, &info, 1 << 17, 0);
	length = read->bytes->len;
	assert_int_equal(req_end(read), 0);
	kernel_release(kernel, &info);
	return length;
}

static struct stat stat_of(struct kernel *kernel, uint64_t ino)
{
	struct fuse_req *req = getattr(kernel, ino);
	struct stat st = req->attr;

	assert_int_equal(req_end(req), 0);
	return st;
}

/* They tell how many processes there are, how long their names are, and when one came. */
static void length_and_time_of_a_private_text_are_for_its_readers(void **state)
{
	struct kernel *kernel = *state;
	uint64_t ino, born = WORLD_NOW / 1000000000u;
	size_t length;

	kernel->uid = 0;
	populate_two(kernel, HIDEPID_NOACCESS, true);
	ino = kernel_walk(kernel, "summary");
	world_now_ns += 100000000000u;
	length = read_file(kernel, ino);
	assert_int_not_equal(length, 4096);
	for (size_t i = 0; i < G_N_ELEMENTS(readers); i++) {
		bool sees_all = readers[i].sees[1] && readers[i].sees[3];
		struct stat st;

		read_as(kernel, &readers[i]);
		st = stat_of(kernel, ino);
		assert_int_equal(st.st_size, sees_all ? length : 4096);
		assert_int_equal(st.st_mtim.tv_sec, sees_all ? born + 100 : born);
		assert_int_equal(st.st_nlink, 1);
	}
}

/* `sources` says less to those who do not see all: their text has a length of its own. */
static void a_text_that_depends_on_the_reader_has_a_length_for_each(void **state)
{
	struct kernel *kernel = *state;
	size_t whole, part;
	uint64_t ino;

	kernel->uid = 0;
	populate_two(kernel, HIDEPID_NOACCESS, true);
	g_strlcpy(kernel->world->source.detail, "something is the matter",
		  sizeof kernel->world->source.detail);
	ino = kernel_walk(kernel, "sources");
	whole = read_file(kernel, ino);
	kernel->uid = 1001;
	part = read_file(kernel, ino);
	assert_true(part < whole);
	assert_int_equal(stat_of(kernel, ino).st_size, part);
	kernel->uid = 0;
	assert_int_equal(stat_of(kernel, ino).st_size, whole);
}

/* Whoever reads it then: the number of the thread that opened it may be another's by now. */
static void a_text_is_that_of_who_opened_the_file(void **state)
{
	struct kernel *kernel = *state;
	char *member = proc_with_groups("7000"), *stranger = proc_with_groups("1");

	populate_two(kernel, HIDEPID_NOACCESS, true);
	g_strlcpy(kernel->world->source.detail, "PRIVATE", sizeof kernel->world->source.detail);
	kernel->tid = GROUPS_TID;
	for (int is_member = 0; is_member <= 1; is_member++) {
		struct fuse_file_info info;
		struct fuse_req *req;

		kernel->model->proc = is_member ? member : stranger;
		req = kernel_open(kernel, look(kernel->model, "sources"), O_RDONLY);
		info = req->info;
		assert_int_equal(req_end(req), 0);
		kernel->model->proc = is_member ? stranger : member;
		for (int again = 0; again <= 1; again++) {
			req = kernel_read(kernel, &info, 1 << 17, 0);
			assert_int_equal(strstr(req->bytes->str, "PRIVATE") != NULL, is_member);
			assert_int_equal(req_end(req), 0);
		}
		kernel_release(kernel, &info);
	}
	unit_rmdir(member);
	unit_rmdir(stranger);
}

static void a_directory_does_not_tell_when_processes_come(void **state)
{
	struct kernel *kernel = *state;
	struct stat before, after;

	kernel->uid = 1002;
	populate_two(kernel, HIDEPID_INVISIBLE, true);
	before = stat_of(kernel, look(kernel->model, "pids"));
	world_now_ns += 100000000000u;
	world_hold(kernel->world, world_process(kernel->world, 9, 1000),
		   world_device(kernel->world, 0, 0xa, 1000), 0);
	after = stat_of(kernel, look(kernel->model, "pids"));
	assert_memory_equal(&before, &after, sizeof before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KERNEL_TEST(what_names_processes_is_for_the_group),
		KERNEL_TEST(without_a_group_it_is_for_the_owner),
		KERNEL_TEST(nothing_is_private_when_it_is_off),
		KERNEL_TEST(each_reader_finds_his_own_and_who_is_exempt_all),
		KERNEL_TEST(without_invisible_everybody_finds_all),
		KERNEL_TEST(a_hidden_process_is_not_there_by_number),
		KERNEL_TEST(what_is_hidden_is_never_kept_by_the_kernel),
		KERNEL_TEST(length_and_time_of_a_private_text_are_for_its_readers),
		KERNEL_TEST(a_text_that_depends_on_the_reader_has_a_length_for_each),
		KERNEL_TEST(a_text_is_that_of_who_opened_the_file),
		KERNEL_TEST(a_directory_does_not_tell_when_processes_come),
	};

	return RUN(tests);
}
