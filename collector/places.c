/* SPDX-License-Identifier: Apache-2.0 */
#include "places.h"
#include "log.h"
#include "mountpoint.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

int config_fault(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	g_logv("ttmemd", G_LOG_LEVEL_CRITICAL, format, args);
	va_end(args);
	return EXIT_CONFIG;
}

static bool is_answering(const char *path, int type)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool answers;

	g_strlcpy(address.sun_path, path, sizeof address.sun_path);
	answers = fd >= 0 && (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 ||
			      errno == EAGAIN || errno == EPROTOTYPE);
	if (fd >= 0)
		close(fd);
	return answers;
}

/* A socket file that nobody listens at is a dead daemon's; anything else is not ours to remove. */
static int socket_clear(const char *path)
{
	struct stat st;

	if (lstat(path, &st))
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return config_fault("%s exists and is not a socket: give another --socket", path);
	if (is_answering(path, SOCK_SEQPACKET))
		return config_fault(
			"another ttmemd runs (it answers at %s): stop it, or give other "
			"--mount and --socket",
			path);
	unlink(path);
	return 0;
}

/* Often in /tmp, where a lock beside it would be anybody's to hold. */
static int take_alloc_place(const struct places *places)
{
	const char *path = places->options->alloc_socket;
	struct stat st;

	if (!path || lstat(path, &st))
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return config_fault(
			"%s exists and is not a socket: give another --alloc-server=PATH", path);
	if (is_answering(path, SOCK_STREAM))
		return config_fault("another allocation server answers at %s: stop it, or give "
				    "another --alloc-server=PATH",
				    path);
	if (unlink(path))
		return config_fault("cannot remove %s, which nobody listens at (%s): remove it, or "
				    "give another --alloc-server=PATH",
				    path, g_strerror(errno));
	return 0;
}

static int take_socket_place(struct places *places)
{
	const char *path = places->options->socket;
	char *dir = g_path_get_dirname(path);
	int status = 0, error;

	if (strlen(path) >= sizeof((struct sockaddr_un *)0)->sun_path)
		status = config_fault("the socket's path is too long (%zu bytes, at most %zu): %s",
				      strlen(path), sizeof((struct sockaddr_un *)0)->sun_path - 1,
				      path);
	else if (places->options->default_socket && mkdir(dir, 0755) == 0)
		places->made_socket_dir = true;
	error = status ? 0 : lockfile_take(&places->socket_lock, path);
	if (error == -EWOULDBLOCK)
		status = config_fault("another ttmemd runs with the socket %s: stop it, or give "
				      "other --mount and --socket",
				      path);
	else if (error == -ENOENT)
		status = config_fault(
			"the socket's directory %s does not exist: make it with mkdir, "
			"or give another --socket",
			dir);
	else if (error)
		status = config_fault(
			"cannot write to the socket's directory %s (%s): run as a user "
			"who may, or give another --socket",
			dir, g_strerror(-error));
	if (!status)
		status = socket_clear(path);
	g_free(dir);
	return status;
}

/* Without a lock beside the mount point (its directory may be anyone's) nothing shows that a mount
 * there is dead, and so it is left alone. */
static int clear_mount(struct places *places, int lock_error)
{
	const char *path = places->options->mount;
	char *type = mountpoint_type(path);
	int status = 0, error;

	if (type && (lock_error || strcmp(type, "fuse.ttmem"))) {
		status = config_fault("%s is a mount point already (%s): unmount it with "
				      "`umount %s`, or give another --mount",
				      path, type, path);
	} else if (type) {
		log_info("cleaning up %s, which a ttmemd that was killed has left", path);
		error = mountpoint_clear(path);
		if (error)
			status = config_fault("cannot unmount what a dead ttmemd left at %s (%s): "
					      "try `umount -l %s`",
					      path, g_strerror(-error), path);
	}
	g_free(type);
	return status;
}

static int take_mount_place(struct places *places)
{
	const char *path = places->options->mount;
	const char *fault = mountpoint_fuse_fault();
	int error, status;

	if (fault)
		return config_fault("%s", fault);
	error = lockfile_take(&places->mount_lock, path);
	if (error == -EWOULDBLOCK)
		return config_fault("another ttmemd serves %s: stop it, or give another --mount",
				    path);
	status = clear_mount(places, error);
	if (status)
		return status;
	if (places->options->default_mount && mkdir(path, 0755) == 0)
		places->made_mount = true;
	fault = mountpoint_fault(path);
	return fault ? config_fault("the mount point %s %s", path, fault) : 0;
}

void places_give_back(struct places *places)
{
	char *dir;

	if (places->made_mount)
		rmdir(places->options->mount);
	lockfile_drop(&places->mount_lock);
	lockfile_drop(&places->socket_lock);
	if (places->made_socket_dir) {
		dir = g_path_get_dirname(places->options->socket);
		rmdir(dir);
		g_free(dir);
	}
}

int places_take(struct places *places, const struct options *options)
{
	int status;

	*places = (struct places){.options = options};
	places->socket_lock.fd = places->mount_lock.fd = -1;
	status = take_socket_place(places);
	if (!status)
		status = take_alloc_place(places);
	return status ? status : take_mount_place(places);
}
