/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines: to the journal when a service manager listens, else to stderr. One line per change of
 * state, never one per event. */
#ifndef LOG_H
#define LOG_H

#include <glib.h>

#define log_error(...)   g_log("ttmemd", G_LOG_LEVEL_CRITICAL, __VA_ARGS__)
#define log_warning(...) g_log("ttmemd", G_LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    g_log("ttmemd", G_LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   g_log("ttmemd", G_LOG_LEVEL_DEBUG, __VA_ARGS__)

/* "error", "warning", "info" or "debug". Returns -1 for any other word. */
int log_set_level(const char *name);

/* From now on to the system's log: stderr is about to go. */
void log_to_syslog(void);

#endif
