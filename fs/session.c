/* SPDX-License-Identifier: Apache-2.0 */
/* Mounting, and the way from the FUSE descriptor to the handlers. */
#include "fs.h"
#include "log.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DRAIN_MAX 64 /* requests in one turn of the loop */

G_GNUC_PRINTF(2, 0)
static void on_log(enum fuse_log_level level, const char *format, va_list args)
{
	char text[512];
	size_t length;

	vsnprintf(text, sizeof text, format, args);
	length = strlen(text);
	if (length && text[length - 1] == '\n')
		text[length - 1] = 0;
	if (level <= FUSE_LOG_ERR)
		log_error("%s", text);
	else if (level <= FUSE_LOG_WARNING)
		log_warning("%s", text);
	else
		log_debug("%s", text);
}

/* An ordinary user may let others see his mount only where the administrator says so. */
static bool may_allow_other(void)
{
	char line[128];
	bool allowed = geteuid() == 0;
	FILE *conf = allowed ? NULL : fopen("/etc/fuse.conf", "re");

	while (conf && !allowed && fgets(line, sizeof line, conf))
		allowed = !strcmp(g_strstrip(line), "user_allow_other");
	if (conf)
		fclose(conf);
	return allowed;
}

static struct fuse_session *session_new(struct fs *fs)
{
	char options[256];
	char *argv[] = {(char *)"ttmemd", (char *)"-o", options, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(3, argv);
	struct fuse_lowlevel_ops ops;
	struct fuse_session *session;

	snprintf(options, sizeof options,
		 "fsname=ttmem,subtype=ttmem,default_permissions,nosuid,nodev,noexec%s",
		 may_allow_other() ? ",allow_other" : "");
	memset(&ops, 0, sizeof ops);
	ops_fill(&ops);
	refuse_fill(&ops);
	session = fuse_session_new(&args, &ops, sizeof ops, fs);
	fuse_opt_free_args(&args);
	return session;
}

/* The next request: its size, -EAGAIN if there is none, 0 or another error after an unmount. */
static int receive(struct fs *fs)
{
	uint64_t until = 0;
	int size;

	for (;;) {
		uint64_t now;

		size = fuse_session_receive_buf(fs->session, &fs->buf);
		if (size == -EINTR)
			continue;
		now = uv_hrtime();
		if (size > 0)
			eager_request(&fs->eager, now);
		if (size != -EAGAIN)
			return size;
		if (!until)
			until = eager_until(&fs->eager, now);
		if (now >= until)
			break;
	}
	if (until)
		eager_missed(&fs->eager);
	return size;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct fs *fs = poll->data;

	(void)status;
	(void)events;
	for (int i = 0; i < DRAIN_MAX; i++) {
		int size = receive(fs);

		if (size == -EAGAIN)
			return;
		if (size <= 0) {
			uv_poll_stop(poll);
			fs->unmounted(fs->unmounted_data);
			return;
		}
		fs->requests++;
		fuse_session_process_buf(fs->session, &fs->buf);
		eager_answered(&fs->eager, uv_hrtime());
	}
}

void fs_be_eager(struct fs *fs, uint64_t budget_us)
{
	cpu_set_t allowed;
	int processors = 1;

	if (!sched_getaffinity(0, sizeof allowed, &allowed))
		processors = CPU_COUNT(&allowed);
	eager_init(&fs->eager, budget_us, (unsigned int)processors);
}

static int watch(struct fs *fs)
{
	int fd = fuse_session_fd(fs->session);
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) || fcntl(fd, F_SETFD, FD_CLOEXEC))
		return -errno;
	uv_idle_init(fs->loop, &fs->idle);
	uv_poll_init(fs->loop, &fs->poll, fd);
	fs->idle.data = fs->poll.data = fs;
	uv_poll_start(&fs->poll, UV_READABLE, on_readable);
	return 0;
}

static void tables_free(struct fs *fs)
{
	g_hash_table_destroy(fs->nodes);
	g_hash_table_destroy(fs->readers);
}

/* Who is in the group "ttmem" may see numbers by process; without such a group, who is in ours. */
static gid_t group_for_metrics(const struct model *model)
{
	const struct group *group = getgrnam("ttmem");

	return group ? group->gr_gid : model->group;
}

/* Of what is mounted there, wherever a link on the way leads: known without asking ourselves. */
static uint32_t device_at(const char *path)
{
	struct statx st;

	if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, STATX_TYPE, &st))
		return 0;
	return st.stx_dev_major << 20 | st.stx_dev_minor;
}

int fs_init(struct fs *fs, uv_loop_t *loop, struct model *model, const char *mountpoint)
{
	int error;

	memset(fs, 0, sizeof *fs);
	fs->loop = loop;
	fs->model = model;
	fs->metrics_group = group_for_metrics(model);
	fs->nodes = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
	g_queue_init(&fs->files);
	g_queue_init(&fs->spare);
	fs->readers = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	g_queue_init(&fs->making);
	fuse_set_log_func(on_log);
	fs->session = session_new(fs);
	if (!fs->session) {
		error = -EINVAL;
		goto err_tables;
	}
	if (fuse_session_mount(fs->session, mountpoint)) {
		error = -EIO;
		goto err_destroy;
	}
	error = watch(fs);
	if (error)
		goto err_unmount;
	fs->path = g_strdup(mountpoint);
	fs->news.device = device_at(mountpoint);
	news_init(fs);
	fs->news.sees_all = geteuid() == 0 || !may_allow_other();
	births_init(fs);
	return 0;

err_unmount:
	fuse_session_unmount(fs->session);
err_destroy:
	fuse_session_destroy(fs->session);
	fs->session = NULL;
err_tables:
	tables_free(fs);
	return error;
}

void fs_close(struct fs *fs)
{
	uv_close((uv_handle_t *)&fs->poll, NULL);
	uv_close((uv_handle_t *)&fs->idle, NULL);
	news_close(fs);
	fuse_session_unmount(fs->session); /* which ends what the hands wait for */
	fs->is_stuck = !hand_fini(&fs->news.writer);
	fs->is_stuck |= !births_fini(fs);
}

void fs_fini(struct fs *fs)
{
	file_end_all(fs);
	news_fini(fs);
	g_free(fs->path);
	fuse_session_destroy(fs->session);
	free(fs->buf.mem);
	tables_free(fs);
}

void fs_status(const struct fs *fs, struct status *status)
{
	status->requests = fs->requests;
	status->awaited = fs->eager.hits;
	status->awaited_in_vain = fs->eager.misses;
	status->open_files = fs->files.length;
	status->nodes = g_hash_table_size(fs->nodes);
	status->text_bytes = fs->text_bytes;
	status->notifications = fs->news.notifications;
	status->untold = fs->births.untold;
	status->followed = g_hash_table_size(fs->news.follows);
}
