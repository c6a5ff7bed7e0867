/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel driver would show of made-up devices, below a new directory and laid out as sysfs
 * and procfs are: class entries are links to directories below the PCI device's, and these have a
 * `device` link back up. Whatever the test wants to be otherwise it changes with the paths.
 */
#ifndef TESTS_UNIT_DRIVER_FOREST_H
#define TESTS_UNIT_DRIVER_FOREST_H

#include "driver_tree.h"
#include "unit.h"
#include <fcntl.h>
#include <glib/gstdio.h>
#include <inttypes.h>
#include <sys/stat.h>

#define DRIVER_FOREST_ASIC_ID UINT64_C(0x0123456789abcd00) /* plus the device's number */

struct driver_forest {
	char *root;
	char *sysfs;  /* as /sys/class/tenstorrent */
	char *procfs; /* as /proc/driver/tenstorrent */
};

static inline void driver_forest_init(struct driver_forest *forest)
{
	forest->root = unit_mkdir();
	forest->sysfs = g_build_filename(forest->root, "sys/class/tenstorrent", NULL);
	forest->procfs = g_build_filename(forest->root, "proc/driver/tenstorrent", NULL);
	assert_int_equal(g_mkdir_with_parents(forest->sysfs, 0700), 0);
	assert_int_equal(g_mkdir_with_parents(forest->procfs, 0700), 0);
}

static inline void driver_forest_fini(struct driver_forest *forest)
{
	g_free(forest->procfs);
	g_free(forest->sysfs);
	unit_rmdir(forest->root);
}

/* Paths are the caller's to free. The PCI device of device N is on bus N + 1. */
static inline char *driver_forest_pci_path(const struct driver_forest *forest, uint32_t number)
{
	return g_strdup_printf("%s/sys/devices/0000:%02x:00.0", forest->root, number + 1);
}

/* Of the class entry, or with a name, of an attribute. */
static inline char *driver_forest_path(const struct driver_forest *forest, uint32_t number,
				       const char *name)
{
	return g_strdup_printf("%s/tenstorrent!%u%s%s", forest->sysfs, number, name ? "/" : "",
			       name ? name : "");
}

static inline char *driver_forest_pids_path(const struct driver_forest *forest, uint32_t number)
{
	return g_strdup_printf("%s/%u/pids", forest->procfs, number);
}

static inline void driver_forest_write(char *path, const void *bytes, size_t length)
{
	assert_true(g_file_set_contents(path, bytes, (gssize)length, NULL));
	g_free(path);
}

/* An attribute, or "device/numa_node". */
static inline void driver_forest_put(const struct driver_forest *forest, uint32_t number,
				     const char *name, const char *text)
{
	driver_forest_write(driver_forest_path(forest, number, name), text, strlen(text));
}

/* The list of who has the device open, as it is, such as "12\n7\n12\n". */
static inline void driver_forest_pids(const struct driver_forest *forest, uint32_t number,
				      const char *text)
{
	driver_forest_write(driver_forest_pids_path(forest, number), text, strlen(text));
}

static inline void driver_forest_rename(char *from, char *to)
{
	assert_int_equal(g_rename(from, to), 0);
	g_free(from);
	g_free(to);
}

static inline void driver_forest_link(const char *target, char *path)
{
	assert_int_equal(symlink(target, path), 0);
	g_free(path);
}

/* A complete n300 that nobody has open. */
static inline void driver_forest_add(const struct driver_forest *forest, uint32_t number)
{
	char *pci = driver_forest_pci_path(forest, number), *name = g_path_get_basename(pci);
	char *dir = g_strdup_printf("%s/tenstorrent/tenstorrent!%u", pci, number);
	char *up = g_strdup_printf("../../../%s", name);
	char *down = g_strdup_printf("../../devices/%s/tenstorrent/tenstorrent!%u", name, number);
	char *proc = g_strdup_printf("%s/%u", forest->procfs, number);
	char *asic_id = g_strdup_printf("%016" PRIX64 "\n", DRIVER_FOREST_ASIC_ID + number);

	assert_int_equal(g_mkdir_with_parents(dir, 0700), 0);
	assert_int_equal(g_mkdir_with_parents(proc, 0700), 0);
	driver_forest_link(up, g_build_filename(dir, "device", NULL));
	driver_forest_link(down, driver_forest_path(forest, number, NULL));
	driver_forest_put(forest, number, "device/numa_node", "1\n");
	driver_forest_put(forest, number, "tt_card_type", "n300\n");
	driver_forest_put(forest, number, "tt_serial", "010001451170801D\n");
	driver_forest_put(forest, number, "tt_asic_id", asic_id);
	driver_forest_put(forest, number, "tt_fw_bundle_ver", "18.12.1.0\n");
	driver_forest_pids(forest, number, "");
	g_free(asic_id);
	g_free(proc);
	g_free(down);
	g_free(up);
	g_free(dir);
	g_free(name);
	g_free(pci);
}

static inline void driver_forest_remove(const struct driver_forest *forest, uint32_t number)
{
	char *link = driver_forest_path(forest, number, NULL);

	assert_int_equal(g_unlink(link), 0);
	g_free(link);
	unit_rmdir(driver_forest_pci_path(forest, number));
	unit_rmdir(g_strdup_printf("%s/%u", forest->procfs, number));
}

/* The same device again, after a reset. What was there stays until the new one is: a file system
 * may give the same inode number to what comes next. */
static inline void driver_forest_reload(const struct driver_forest *forest, uint32_t number)
{
	char *old = g_strdup_printf("%s/old", forest->root);

	driver_forest_rename(driver_forest_pci_path(forest, number), g_strdup(old));
	driver_forest_rename(driver_forest_path(forest, number, NULL),
			     g_build_filename(old, "link", NULL));
	driver_forest_add(forest, number);
	unit_rmdir(old);
}

/* As the collector reads it. */
static inline struct driver_device driver_forest_read(const struct driver_forest *forest,
						      uint32_t number)
{
	struct driver_device device;

	memset(&device, 'x', sizeof device);
	driver_read(forest->sysfs, number, &device);
	assert_int_equal(device.number, number);
	return device;
}

/* To see that none is left. */
static inline guint open_descriptors(void)
{
	GDir *dir = g_dir_open("/proc/self/fd", 0, NULL);
	guint count = 0;

	assert_non_null(dir);
	while (g_dir_read_name(dir))
		count++;
	g_dir_close(dir);
	return count;
}

/* A FIFO with a line in it, which whoever opened it would get. */
static inline int make_fifo(const char *path)
{
	int fd;

	assert_int_equal(mkfifo(path, 0600), 0);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "1\n", 2), 2);
	return fd;
}

#endif
