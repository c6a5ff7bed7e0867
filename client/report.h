/* SPDX-License-Identifier: Apache-2.0 */
/* The process's own view for people, and what TTMEM_REPORT asks for. */
#ifndef TTMEM_REPORT_H
#define TTMEM_REPORT_H

#include <stdbool.h>

/* report.c: a table, and one line. Each returns 0 or a negative errno. */
int ttmem__report_table(int fd, bool at_exit);
int ttmem__report_line(int fd, double age_sec);

/* A line of the library's own on stderr, without memory, and without SIGPIPE. */
__attribute__((format(printf, 1, 2))) void ttmem__say(const char *format, ...);

/* ending.c: whether the environment asks for a report, and with it for tracking. */
bool ttmem__report_asked(void);

/* Tracking has started, in this process or a forked child. With no lock: it may wait for whoever
 * reads stderr, and for the host's own wrapper of pthread_create(). */
void ttmem__report_start(void);

#endif
