/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's side of the mount, in place of libfuse's: requests that remember how they were
 * answered. A second answer, or none, does not go unseen.
 */
#ifndef TESTS_UNIT_KERNEL_H
#define TESTS_UNIT_KERNEL_H

#include "forest.h"
#include "fs.h"
#include <errno.h>

struct fuse_req {
	struct fs *fs;
	struct fuse_ctx ctx;
	bool interrupted; /* the opener is gone by the time of the answer */
	unsigned int answers;
	int error;
	GString *bytes;
	struct stat attr;
	double entry_timeout, attr_timeout;
	struct fuse_file_info info;
	uint64_t ino;
};

void *fuse_req_userdata(fuse_req_t req)
{
	return req->fs;
}

const struct fuse_ctx *fuse_req_ctx(fuse_req_t req)
{
	return &req->ctx;
}

int fuse_reply_err(fuse_req_t req, int error)
{
	req->answers++;
	req->error = error;
	return 0;
}

void fuse_reply_none(fuse_req_t req)
{
	req->answers++;
}

int fuse_reply_entry(fuse_req_t req, const struct fuse_entry_param *entry)
{
	req->answers++;
	req->attr = entry->attr;
	req->entry_timeout = entry->entry_timeout;
	req->attr_timeout = entry->attr_timeout;
	req->ino = entry->ino;
	return req->interrupted ? -ENOENT : 0;
}

int fuse_reply_attr(fuse_req_t req, const struct stat *attr, double timeout)
{
	req->answers++;
	req->attr = *attr;
	req->attr_timeout = timeout;
	return 0;
}

int fuse_reply_readlink(fuse_req_t req, const char *target)
{
	req->answers++;
	g_string_assign(req->bytes, target);
	return 0;
}

int fuse_reply_open(fuse_req_t req, const struct fuse_file_info *info)
{
	req->answers++;
	req->info = *info;
	return req->interrupted ? -ENOENT : 0;
}

int fuse_reply_write(fuse_req_t req, size_t count)
{
	(void)count;
	req->answers++;
	return 0;
}

int fuse_reply_buf(fuse_req_t req, const char *bytes, size_t size)
{
	req->answers++;
	g_string_append_len(req->bytes, size ? bytes : "", (gssize)size);
	return 0;
}

int fuse_reply_statfs(fuse_req_t req, const struct statvfs *statfs)
{
	(void)statfs;
	req->answers++;
	return 0;
}

struct kernel {
	struct world *world;
	struct model *model;
	uv_loop_t loop;
	struct fs fs;
	struct fuse_lowlevel_ops ops;
	struct status status;
	uid_t uid; /* whose requests come... */
	gid_t gid;
	pid_t tid; /* ...and of which thread */
};

static inline void kernel_status(struct status *status, void *data)
{
	fs_status(&((struct kernel *)data)->fs, status);
}

static inline int kernel_setup(void **state)
{
	struct kernel *kernel = g_new0(struct kernel, 1);

	world_setup((void **)&kernel->world);
	kernel->model = &kernel->world->model;
	kernel->uid = 1000;
	kernel->gid = 100;
	kernel->tid = getpid();
	uv_loop_init(&kernel->loop);
	kernel->fs.loop = &kernel->loop;
	kernel->fs.model = kernel->model;
	kernel->fs.nodes = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
	kernel->fs.readers = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	kernel->fs.status = kernel_status;
	kernel->fs.status_data = kernel;
	uv_idle_init(&kernel->loop, &kernel->fs.idle);
	kernel->fs.idle.data = &kernel->fs;
	kernel->fs.path = g_strdup("/nowhere");
	news_init(&kernel->fs);
	births_init(&kernel->fs);
	ops_fill(&kernel->ops);
	refuse_fill(&kernel->ops);
	*state = kernel;
	return 0;
}

static inline int kernel_teardown(void **state)
{
	struct kernel *kernel = *state;

	file_end_all(&kernel->fs);
	uv_close((uv_handle_t *)&kernel->fs.idle, NULL);
	news_close(&kernel->fs);
	assert_true(hand_fini(&kernel->fs.news.writer));
	assert_true(births_fini(&kernel->fs));
	uv_run(&kernel->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&kernel->loop), 0);
	assert_int_equal(g_hash_table_size(kernel->fs.readers), 0);
	assert_int_equal(kernel->fs.text_bytes, 0);
	news_fini(&kernel->fs);
	g_free(kernel->fs.path);
	g_hash_table_destroy(kernel->fs.nodes);
	g_hash_table_destroy(kernel->fs.readers);
	world_teardown((void **)&kernel->world);
	g_free(kernel);
	return 0;
}

#define KERNEL_TEST(name) cmocka_unit_test_setup_teardown(name, kernel_setup, kernel_teardown)

static inline struct fuse_req *req_new(struct kernel *kernel)
{
	struct fuse_req *req = g_new0(struct fuse_req, 1);

	req->fs = &kernel->fs;
	req->ctx = (struct fuse_ctx){.uid = kernel->uid, .gid = kernel->gid, .pid = kernel->tid};
	req->bytes = g_string_new(NULL);
	return req;
}

/* It was answered once. Returns the error. */
static inline int req_end(struct fuse_req *req)
{
	int error = req->error;

	assert_int_equal(req->answers, 1);
	g_string_free(req->bytes, TRUE);
	g_free(req);
	return error;
}

/* Turns the loop until the request is answered. */
static inline void req_wait(struct kernel *kernel, const struct fuse_req *req)
{
	while (!req->answers) {
		int goes_on = uv_run(&kernel->loop, UV_RUN_ONCE);

		assert_true(goes_on || req->answers);
	}
}

static inline struct fuse_req *kernel_open(struct kernel *kernel, uint64_t ino, int flags)
{
	struct fuse_file_info info = {.flags = flags};
	struct fuse_req *req = req_new(kernel);

	kernel->ops.open(req, ino, &info);
	return req;
}

static inline struct fuse_req *kernel_read(struct kernel *kernel, struct fuse_file_info *info,
					   size_t size, off_t offset)
{
	struct fuse_req *req = req_new(kernel);

	kernel->ops.read(req, 0, size, offset, info);
	return req;
}

static inline int kernel_release(struct kernel *kernel, struct fuse_file_info *info)
{
	struct fuse_req *req = req_new(kernel);

	kernel->ops.release(req, 0, info);
	return req_end(req);
}

/* Looks a path up as the kernel does, which makes nodes. */
static inline uint64_t kernel_walk(struct kernel *kernel, const char *path)
{
	uint64_t ino = TREE_ROOT_INO;
	char **parts = g_strsplit(path, "/", -1);

	for (char **part = parts; *part; part++) {
		struct fuse_req *req = req_new(kernel);

		kernel->ops.lookup(req, ino, *part);
		ino = req->ino;
		assert_int_equal(req_end(req), 0);
	}
	g_strfreev(parts);
	return ino;
}

#endif
