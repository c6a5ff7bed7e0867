/* SPDX-License-Identifier: Apache-2.0 */
/* Open files and their texts: of one moment, made in slices, and never answered twice. */
#include "kernel.h"

#define FEW  5000   /* more than a slice */
#define MANY 120000 /* more than is kept: a walk */
#define READ (128u << 10)

/* A process with this many buffers, of which each row has its number as the address. */
static struct process *hoarder(struct kernel *kernel, size_t count)
{
	struct process *process = world_process(kernel->world, 1, 1000);
	struct buffer *buffers = g_new0(struct buffer, count);

	for (size_t i = 0; i < count; i++)
		buffers[i].address = i;
	g_ptr_array_add(kernel->world->fakes, buffers);
	fake_of(process)->buffers = buffers;
	fake_of(process)->buffer_count = count;
	return process;
}

static struct fuse_file_info open_file(struct kernel *kernel, const char *path)
{
	struct fuse_req *req = kernel_open(kernel, kernel_walk(kernel, path), O_RDONLY);
	struct fuse_file_info info;

	req_wait(kernel, req);
	info = req->info;
	assert_int_equal(req_end(req), 0);
	return info;
}

/* Appends what is at the offset; returns how much. */
static size_t read_at(struct kernel *kernel, struct fuse_file_info *info, off_t offset,
		      GString *text)
{
	struct fuse_req *req = kernel_read(kernel, info, READ, offset);
	size_t size;

	req_wait(kernel, req);
	size = req->bytes->len;
	g_string_append_len(text, req->bytes->str, (gssize)size);
	assert_int_equal(req_end(req), 0);
	return size;
}

#define ADDRESS_COLUMN 16

/* Rows of 0 to count-1 behind the heading, and nothing else. */
static void assert_rows(const GString *text, size_t count)
{
	const char *end = text->str + text->len, *row = memchr(text->str, '\n', text->len);

	for (size_t i = 0; i < count; i++) {
		assert_non_null(row);
		assert_true(end - row > ADDRESS_COLUMN);
		assert_int_equal(strtoul(row + 1 + ADDRESS_COLUMN, NULL, 16), i);
		row = memchr(row + 1, '\n', (size_t)(end - row - 1));
	}
	assert_ptr_equal(row, end - 1);
}

static void a_value_is_made_when_it_is_read(void **state)
{
	struct kernel *kernel = *state;
	struct process *process = world_process(kernel->world, 1, 1000);
	struct device *device = world_device(kernel->world, 0, 0, 1000);
	struct fuse_file_info info = open_file(kernel, "pids/1/dram");
	GString *text = g_string_new(NULL);

	world_hold(kernel->world, process, device, 0);
	world_set(process, 0, TTMEM_DRAM, 123, 1);
	read_at(kernel, &info, 0, text);
	assert_string_equal(text->str, "123\n");
	world_set(process, 0, TTMEM_DRAM, 4567, 1);
	read_at(kernel, &info, 4, text); /* the end of the same text */
	assert_string_equal(text->str, "123\n");
	read_at(kernel, &info, 0, text);
	assert_string_equal(text->str, "123\n4567\n");
	g_string_free(text, TRUE);
	kernel_release(kernel, &info);
}

static void a_table_has_its_length_once_it_is_open(void **state)
{
	struct kernel *kernel = *state;
	struct fuse_req *req = req_new(kernel);
	struct fuse_file_info info;
	GString *text = g_string_new(NULL);

	hoarder(kernel, FEW);
	info = open_file(kernel, "pids/1/buffers");
	kernel->ops.getattr(req, kernel_walk(kernel, "pids/1/buffers"), NULL);
	while (read_at(kernel, &info, (off_t)text->len, text))
		;
	assert_rows(text, FEW);
	assert_int_equal(req->attr.st_size, text->len);
	req_end(req);
	g_string_free(text, TRUE);
	kernel_release(kernel, &info);
}

static void a_long_text_does_not_hold_up_others(void **state)
{
	struct kernel *kernel = *state;
	struct fuse_req *slow, *quick;

	hoarder(kernel, MANY);
	slow = kernel_open(kernel, kernel_walk(kernel, "pids/1/buffers"), O_RDONLY);
	assert_int_equal(slow->answers, 0);
	quick = kernel_open(kernel, kernel_walk(kernel, "summary"), O_RDONLY);
	assert_int_equal(quick->answers, 1);
	kernel_release(kernel, &quick->info);
	req_end(quick);
	req_wait(kernel, slow);
	kernel_release(kernel, &slow->info);
	assert_int_equal(req_end(slow), 0);
}

static void a_walk_has_each_row_once_and_keeps_little(void **state)
{
	struct kernel *kernel = *state;
	struct fuse_file_info info;
	GString *text = g_string_new(NULL);
	uint64_t most = 0;

	hoarder(kernel, MANY);
	info = open_file(kernel, "pids/1/buffers");
	while (read_at(kernel, &info, (off_t)text->len, text))
		most = MAX(most, kernel->fs.text_bytes);
	assert_rows(text, MANY);
	assert_true(most < text->len * 3 / 4);
	g_string_free(text, TRUE);
	kernel_release(kernel, &info);
}

/* The teardown sees what would be left of it. */
static void what_is_kept_for_the_next_slice_counts_as_the_readers(void **state)
{
	struct kernel *kernel = *state;
	struct device *device = world_device(kernel->world, 0, 0, 1000);
	struct fuse_req *req;

	for (pid_t pid = 1; pid <= FEW; pid++)
		world_hold(kernel->world, world_process(kernel->world, pid, 1000), device, 0);
	req = kernel_open(kernel, kernel_walk(kernel, "snapshot.json"), O_RDONLY);
	while (!kernel->fs.text_bytes)
		uv_run(&kernel->loop, UV_RUN_ONCE);
	assert_int_equal(req->answers, 0);
	assert_true(kernel->fs.text_bytes > FEW * 200ull);
	file_end_all(&kernel->fs);
	assert_int_equal(req_end(req), EIO);
}

static void going_back_in_a_walk_begins_another(void **state)
{
	struct kernel *kernel = *state;
	struct fuse_file_info info;
	GString *text = g_string_new(NULL), *again = g_string_new(NULL);

	hoarder(kernel, MANY);
	info = open_file(kernel, "pids/1/buffers");
	while (read_at(kernel, &info, (off_t)text->len, text))
		;
	read_at(kernel, &info, 777, again);
	assert_memory_equal(again->str, text->str + 777, again->len);
	g_string_truncate(again, 0);
	while (read_at(kernel, &info, (off_t)again->len, again))
		;
	assert_rows(again, MANY);
	g_string_free(text, TRUE);
	g_string_free(again, TRUE);
	kernel_release(kernel, &info);
}

static void requests_that_wait_are_answered_in_their_order(void **state)
{
	struct kernel *kernel = *state;
	struct fuse_req *reqs[20];
	struct fuse_file_info info;
	GString *text = g_string_new(NULL);

	hoarder(kernel, FEW);
	info = open_file(kernel, "pids/1/buffers");
	for (int i = 0; i < 20; i++)
		reqs[i] = kernel_read(kernel, &info, 40000, i * 40000);
	for (int i = 19; i >= 0; i--)
		req_wait(kernel, reqs[i]);
	for (int i = 0; i < 20; i++) {
		g_string_append_len(text, reqs[i]->bytes->str, (gssize)reqs[i]->bytes->len);
		assert_int_equal(req_end(reqs[i]), 0);
	}
	assert_rows(text, FEW);
	g_string_free(text, TRUE);
	kernel_release(kernel, &info);
}

static void a_process_that_ends_while_its_text_is_made_is_an_error(void **state)
{
	struct kernel *kernel = *state;
	struct process *process = hoarder(kernel, MANY);
	struct fuse_file_info info = open_file(kernel, "pids/1/buffers");
	struct fuse_req *read, *open;

	open = kernel_open(kernel, kernel_walk(kernel, "pids/1/buffers"), O_RDONLY);
	read = kernel_read(kernel, &info, READ, 0);
	assert_int_equal(read->answers + open->answers, 0);
	world_leave(kernel->world, process);
	req_wait(kernel, read);
	req_wait(kernel, open);
	assert_int_equal(req_end(read), ESRCH);
	assert_int_equal(req_end(open), ESRCH);
	read = kernel_read(kernel, &info, READ, 0);
	assert_int_equal(req_end(read), ESRCH);
	kernel_release(kernel, &info);
	assert_int_equal(kernel->fs.files.length, 0);
}

static void an_opener_that_was_interrupted_leaves_nothing(void **state)
{
	struct kernel *kernel = *state;
	struct fuse_file_info info = {.flags = O_RDONLY};
	uint64_t slow, quick;

	hoarder(kernel, FEW);
	slow = kernel_walk(kernel, "pids/1/buffers");
	quick = kernel_walk(kernel, "version");
	for (int i = 0; i < 200; i++) {
		struct fuse_req *req = req_new(kernel);

		req->interrupted = true;
		kernel->ops.open(req, i % 2 ? slow : quick, &info);
		req_wait(kernel, req);
		req_end(req);
	}
	assert_int_equal(kernel->fs.files.length, 0);
	assert_int_equal(kernel->fs.text_bytes, 0);
}

static int open_and_wait(struct kernel *kernel, uint64_t ino, struct fuse_file_info *info)
{
	struct fuse_req *req = kernel_open(kernel, ino, O_RDONLY);

	req_wait(kernel, req);
	*info = req->info;
	return req_end(req);
}

static void who_takes_too_much_gets_no_more_and_others_do(void **state)
{
	struct kernel *kernel = *state;
	struct fuse_file_info infos[100], other;
	unsigned int open = 0;
	uint64_t ino;

	hoarder(kernel, 60000); /* some MiB of text */
	ino = kernel_walk(kernel, "pids/1/buffers");
	while (open < 100 && !open_and_wait(kernel, ino, &infos[open]))
		open++;
	assert_in_range(open, 5, 20);
	assert_int_equal(open_and_wait(kernel, ino, &other), EMFILE);
	kernel->uid = 1001;
	assert_int_equal(open_and_wait(kernel, ino, &other), 0);
	kernel->uid = 1000;
	kernel_release(kernel, &infos[--open]);
	assert_int_equal(open_and_wait(kernel, ino, &infos[open]), 0);
}

static void what_waits_when_the_mount_goes_is_answered(void **state)
{
	struct kernel *kernel = *state;
	struct fuse_req *open, *read;
	struct fuse_file_info info;

	hoarder(kernel, MANY);
	info = open_file(kernel, "pids/1/buffers");
	read = kernel_read(kernel, &info, READ, 0);
	open = kernel_open(kernel, kernel_walk(kernel, "pids/1/buffers"), O_RDONLY);
	file_end_all(&kernel->fs);
	assert_int_equal(req_end(open), EIO);
	assert_int_equal(req_end(read), EIO);
}

static void what_is_gathered_for_a_text_counts_before_there_is_one(void **state)
{
	struct kernel *kernel = *state;
	struct device *device = world_device(kernel->world, 0, 0, 1000);
	struct fuse_file_info info;
	struct fuse_req *req;

	world_hold(kernel->world, hoarder(kernel, MANY), device, 0);
	req = kernel_open(kernel, kernel_walk(kernel, "device0/tags"), O_RDONLY);
	assert_int_equal(req->answers, 0);
	assert_int_not_equal(kernel->fs.text_bytes, 0);
	req_wait(kernel, req);
	info = req->info;
	assert_int_equal(req_end(req), 0);
	kernel_release(kernel, &info);
	assert_int_equal(kernel->fs.text_bytes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KERNEL_TEST(a_value_is_made_when_it_is_read),
		KERNEL_TEST(a_table_has_its_length_once_it_is_open),
		KERNEL_TEST(a_long_text_does_not_hold_up_others),
		KERNEL_TEST(a_walk_has_each_row_once_and_keeps_little),
		KERNEL_TEST(what_is_kept_for_the_next_slice_counts_as_the_readers),
		KERNEL_TEST(going_back_in_a_walk_begins_another),
		KERNEL_TEST(requests_that_wait_are_answered_in_their_order),
		KERNEL_TEST(a_process_that_ends_while_its_text_is_made_is_an_error),
		KERNEL_TEST(an_opener_that_was_interrupted_leaves_nothing),
		KERNEL_TEST(who_takes_too_much_gets_no_more_and_others_do),
		KERNEL_TEST(what_waits_when_the_mount_goes_is_answered),
		KERNEL_TEST(what_is_gathered_for_a_text_counts_before_there_is_one),
	};

	return RUN(tests);
}
