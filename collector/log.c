/* SPDX-License-Identifier: Apache-2.0 */
#include "log.h"
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

static const struct {
	const char *name;
	GLogLevelFlags level;
} levels[] = {
	{"error", G_LOG_LEVEL_CRITICAL},
	{"warning", G_LOG_LEVEL_WARNING},
	{"info", G_LOG_LEVEL_INFO},
	{"debug", G_LOG_LEVEL_DEBUG},
};

static GLogLevelFlags lowest = G_LOG_LEVEL_INFO;
static bool to_syslog;

static const char *level_name(GLogLevelFlags level)
{
	for (size_t i = 0; i < G_N_ELEMENTS(levels); i++)
		if (level & levels[i].level)
			return levels[i].name;
	return level & G_LOG_LEVEL_ERROR ? "error" : "info";
}

static const char *message_of(const GLogField *fields, gsize count)
{
	for (gsize i = 0; i < count; i++)
		if (!strcmp(fields[i].key, "MESSAGE"))
			return fields[i].value;
	return "";
}

static GLogWriterOutput write_syslog(GLogLevelFlags level, const char *text)
{
	int priority = level & G_LOG_LEVEL_DEBUG     ? LOG_DEBUG
		       : level & G_LOG_LEVEL_INFO    ? LOG_INFO
		       : level & G_LOG_LEVEL_WARNING ? LOG_WARNING
						     : LOG_ERR;

	syslog(LOG_DAEMON | priority, "%s", text);
	return G_LOG_WRITER_HANDLED;
}

static GLogWriterOutput write_line(GLogLevelFlags level, const GLogField *fields, gsize count,
				   gpointer data)
{
	struct timespec now;
	struct tm tm;
	char stamp[32];

	(void)data;
	if ((level & G_LOG_LEVEL_MASK) > lowest)
		return G_LOG_WRITER_HANDLED;
	if (to_syslog)
		return write_syslog(level, message_of(fields, count));
	if (g_log_writer_is_journald(STDERR_FILENO))
		return g_log_writer_journald(level, fields, count, NULL);
	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &tm);
	strftime(stamp, sizeof stamp, "%F %T", &tm);
	fprintf(stderr, "%s.%03ld ttmemd %s: %s\n", stamp, now.tv_nsec / 1000000, level_name(level),
		message_of(fields, count));
	return G_LOG_WRITER_HANDLED;
}

int log_set_level(const char *name)
{
	static bool installed;

	if (!installed)
		g_log_set_writer_func(write_line, NULL, NULL);
	installed = true;
	for (size_t i = 0; i < G_N_ELEMENTS(levels); i++) {
		if (strcmp(name, levels[i].name))
			continue;
		lowest = levels[i].level;
		return 0;
	}
	return -1;
}

void log_to_syslog(void)
{
	openlog("ttmemd", LOG_PID, LOG_DAEMON);
	to_syslog = true;
}
