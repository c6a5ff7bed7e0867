/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel driver (tt-kmd) shows: its class directory in sysfs and its pid lists in procfs.
 * Reads only; never opens a device node, because an open descriptor blocks a reset. Knows nothing
 * of the model.
 */
#ifndef DRIVER_TREE_H
#define DRIVER_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define DRIVER_MAX_DEVICES 256  /* numbers 0 to 255; more are not looked at */
#define DRIVER_MAX_PIDS    4096 /* different ones of a device */

/* A device of the driver. What is not there or makes no sense is empty, 0 or -1. */
struct driver_device {
	uint32_t number;   /* N of /dev/tenstorrent/N */
	ino_t inode;       /* of its class directory: another one after a reload or a hot reset */
	uint64_t asic_id;  /* 0: not known, as while it is reset */
	char board[24];    /* tt_card_type; the longest yet is "galaxy-blackhole" */
	char serial[24];   /* tt_serial, the hex digits without 0x, lower case */
	char firmware[32]; /* tt_fw_bundle_ver */
	char pci[16];      /* "0000:01:00.0" */
	int numa_node;     /* -1: none */
};

/* The numbers of the devices that are there, ascending, and the inode of each; returns how many, or
 * a negative errno when the class directory (sysfs, "/sys/class/tenstorrent") cannot be read. */
int driver_list(const char *sysfs, uint32_t *numbers, ino_t *inodes, size_t room);

/* Reads a device's attributes, each of which can be missing, all of them from one directory: that
 * with device->inode, which is 0 if the device is gone or its directory cannot be read. Returns 0
 * or a negative errno. Waits while a chip is reset, as the driver does. */
int driver_read(const char *sysfs, uint32_t number, struct driver_device *device);

/* The different pids, ascending, that have the device open (procfs, "/proc/driver/tenstorrent");
 * returns how many, or a negative errno. Numbers that are no pid are passed over; so is 0, which
 * the driver writes for a process that is not visible from here. Of too many, the lowest. */
int driver_pids(const char *procfs, uint32_t number, pid_t *pids, size_t room);

#endif
