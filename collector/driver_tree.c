/* SPDX-License-Identifier: Apache-2.0 */
#include "driver_tree.h"
#include "plain.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CLASS_PREFIX    "tenstorrent!"
#define ATTRIBUTE_BYTES 4096      /* sysfs gives no more */
#define PIDS_BYTES      (1 << 20) /* of a list; beyond is not looked at */

/* Opens a regular file, and nothing else: to open a device node, wherever it came from, can block
 * or do worse. So it is first opened as a mere name, which touches nothing, and looked at. */
static int open_regular(int dir, const char *name)
{
	int fd = -EINVAL, path = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	char self[32];
	struct stat st;

	if (path < 0)
		return -errno;
	snprintf(self, sizeof self, "/proc/self/fd/%d", path);
	if (!fstat(path, &st) && S_ISREG(st.st_mode)) {
		fd = open(self, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		fd = fd < 0 ? -errno : fd;
	}
	close(path);
	return fd;
}

/* A directory of a device, by which its files are then opened: all that is read is of the same
 * device, even when another takes its name meanwhile. */
static int open_directory(const char *root, const char *prefix, uint32_t number)
{
	char *path = g_strdup_printf("%s/%s%u", root, prefix, number);
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	fd = fd < 0 ? -errno : fd;
	g_free(path);
	return fd;
}

/* The line that an attribute is; empty if it is not there or is anything else. While its chip is
 * reset, or of no use, the driver answers with an error. */
static void read_attribute(int dir, const char *name, char line[ATTRIBUTE_BYTES + 1])
{
	int fd = open_regular(dir, name);
	ssize_t length;

	line[0] = 0;
	if (fd < 0)
		return;
	length = read(fd, line, ATTRIBUTE_BYTES);
	close(fd);
	if (length > 0 && line[length - 1] == '\n')
		length--;
	if (length < 0 || length == ATTRIBUTE_BYTES || memchr(line, 0, (size_t)length))
		length = 0;
	line[length] = 0;
}

/* -1 if the text is anything but digits, or the number is too high. */
static int decimal(const char *text, size_t length)
{
	int64_t number = 0;

	for (size_t i = 0; i < length && number <= INT_MAX; i++) {
		if (!g_ascii_isdigit(text[i]))
			return -1;
		number = number * 10 + (text[i] - '0');
	}
	return length && number <= INT_MAX ? (int)number : -1;
}

static const char *without_0x(const char *hex)
{
	return hex[0] == '0' && (hex[1] == 'x' || hex[1] == 'X') ? hex + 2 : hex;
}

/* All ones are no id: so reads a chip that has fallen off the bus. */
static uint64_t asic_id_of(const char *line)
{
	guint64 id = 0;

	g_ascii_string_to_unsigned(without_0x(line), 16, 0, UINT64_MAX - 1, &id, NULL);
	return id;
}

static void serial_of(const char *line, char *serial, size_t size)
{
	const char *digits = without_0x(line);
	size_t length = strspn(digits, "0123456789abcdefABCDEF");

	serial[0] = 0;
	if (digits[length] || length >= size)
		return;
	for (size_t i = 0; i <= length; i++)
		serial[i] = g_ascii_tolower(digits[i]);
}

/* The last component of where the link leads. */
static void read_pci(int dir, char *pci, size_t size)
{
	char target[PATH_MAX];
	ssize_t length = readlinkat(dir, "device", target, sizeof target);
	const char *slash;

	pci[0] = 0;
	if (length <= 0 || length == sizeof target)
		return;
	target[length] = 0;
	slash = strrchr(target, '/');
	plain_pci(pci, slash ? slash + 1 : target, size);
}

static void read_attributes(int dir, struct driver_device *device)
{
	char line[ATTRIBUTE_BYTES + 1];

	read_attribute(dir, "tt_card_type", line);
	/* The driver's word for a type that it has no name for is no name either. */
	if (strcmp(line, "unknown") != 0)
		plain_word(device->board, line, sizeof device->board);
	read_attribute(dir, "tt_fw_bundle_ver", line);
	plain_word(device->firmware, line, sizeof device->firmware);
	read_attribute(dir, "tt_serial", line);
	serial_of(line, device->serial, sizeof device->serial);
	read_attribute(dir, "tt_asic_id", line);
	device->asic_id = asic_id_of(line);
	read_attribute(dir, "device/numa_node", line);
	device->numa_node = decimal(line, strlen(line));
	read_pci(dir, device->pci, sizeof device->pci);
}

int driver_read(const char *sysfs, uint32_t number, struct driver_device *device)
{
	int dir = open_directory(sysfs, CLASS_PREFIX, number);
	struct stat st;

	memset(device, 0, sizeof *device);
	device->number = number;
	device->numa_node = -1;
	if (dir < 0)
		return dir;
	if (!fstat(dir, &st)) {
		device->inode = st.st_ino;
		read_attributes(dir, device);
	}
	close(dir);
	return 0;
}

/* The number in the name of a class entry, if it is written as the driver writes it; else -1. */
static int number_of(const char *name)
{
	const char *digits;

	if (!g_str_has_prefix(name, CLASS_PREFIX))
		return -1;
	digits = name + strlen(CLASS_PREFIX);
	return digits[0] == '0' && digits[1] ? -1 : decimal(digits, strlen(digits));
}

/* Which devices are there, and their inodes. A link that leads nowhere is of one that just goes. */
static int find_devices(DIR *dir, bool *there, ino_t *found)
{
	struct dirent *entry;
	struct stat st;

	for (errno = 0; (entry = readdir(dir)); errno = 0) {
		int number = number_of(entry->d_name);

		if (number < 0 || number >= DRIVER_MAX_DEVICES ||
		    fstatat(dirfd(dir), entry->d_name, &st, 0) || !S_ISDIR(st.st_mode))
			continue;
		there[number] = true;
		found[number] = st.st_ino;
	}
	return -errno;
}

int driver_list(const char *sysfs, uint32_t *numbers, ino_t *inodes, size_t room)
{
	bool there[DRIVER_MAX_DEVICES] = {false};
	ino_t found[DRIVER_MAX_DEVICES];
	DIR *dir = opendir(sysfs);
	size_t count = 0;
	int error;

	if (!dir)
		return -errno;
	error = find_devices(dir, there, found);
	closedir(dir);
	if (error)
		return error;
	for (uint32_t number = 0; number < DRIVER_MAX_DEVICES && count < room; number++) {
		if (!there[number])
			continue;
		numbers[count] = number;
		inodes[count++] = found[number];
	}
	return (int)count;
}

/* Reads a list to its end, or to the last line that is whole within the limit: half a number would
 * be another process. */
static int read_list(int fd, GString *list)
{
	char chunk[4096];
	ssize_t length;

	while ((length = read(fd, chunk, sizeof chunk)) > 0) {
		g_string_append_len(list, chunk, length);
		if (list->len < PIDS_BYTES)
			continue;
		while (list->len && list->str[list->len - 1] != '\n')
			g_string_truncate(list, list->len - 1);
		return 0;
	}
	return length < 0 ? -errno : 0;
}

static int compare_pids(const void *a, const void *b)
{
	const pid_t *left = a, *right = b;

	return (*left > *right) - (*left < *right);
}

static GArray *parse_list(const GString *list)
{
	GArray *all = g_array_new(FALSE, FALSE, sizeof(pid_t));
	const char *end = list->str + list->len, *stop;

	for (const char *line = list->str; line < end; line = stop + 1) {
		pid_t pid;

		stop = memchr(line, '\n', (size_t)(end - line));
		if (!stop)
			stop = end;
		pid = decimal(line, (size_t)(stop - line));
		if (pid > 0)
			g_array_append_val(all, pid);
	}
	g_array_sort(all, compare_pids);
	return all;
}

/* The lowest of them, where there are too many. */
static int take_different(const GString *list, pid_t *pids, size_t room)
{
	GArray *all = parse_list(list);
	size_t count = 0;

	room = MIN(room, DRIVER_MAX_PIDS);
	for (guint i = 0; i < all->len && count < room; i++) {
		pid_t pid = g_array_index(all, pid_t, i);

		if (!count || pid != pids[count - 1])
			pids[count++] = pid;
	}
	g_array_free(all, TRUE);
	return (int)count;
}

int driver_pids(const char *procfs, uint32_t number, pid_t *pids, size_t room)
{
	int fd, result, dir = open_directory(procfs, "", number);
	GString *list;

	if (dir < 0)
		return dir;
	fd = open_regular(dir, "pids");
	close(dir);
	if (fd < 0)
		return fd;
	list = g_string_new(NULL);
	result = read_list(fd, list);
	close(fd);
	if (!result)
		result = take_different(list, pids, room);
	g_string_free(list, TRUE);
	return result;
}
