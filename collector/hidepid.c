/* SPDX-License-Identifier: Apache-2.0 */
#include "hidepid.h"
#include "proc.h"
#include "render.h"
#include <errno.h>
#include <grp.h>
#include <string.h>

int hidepid_parse_mode(const char *name, enum hidepid_mode *mode)
{
	static const char *const names[] = {
		[HIDEPID_OFF] = "off",
		[HIDEPID_NOACCESS] = "noaccess",
		[HIDEPID_INVISIBLE] = "invisible",
	};

	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		if (!strcmp(name, names[i])) {
			*mode = (enum hidepid_mode)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* A name counts before a number, as chgrp(1) has it. The highest number means "no group". */
int hidepid_parse_group(const char *name, gid_t *group)
{
	const struct group *entry = getgrnam(name);
	guint64 number;

	if (entry) {
		*group = entry->gr_gid;
		return 0;
	}
	if (!g_ascii_string_to_unsigned(name, 10, 0, (gid_t)-2, &number, NULL))
		return -ENOENT;
	*group = (gid_t)number;
	return 0;
}

/* What can be told without asking the kernel more than it has said. */
static bool is_exempt_at_sight(const struct model *model, const struct reader *reader)
{
	const struct hidepid *hidepid = &model->hidepid;

	return hidepid->mode == HIDEPID_OFF || model_trusts(model, reader->uid) ||
	       (hidepid->has_group && reader->gid == hidepid->group);
}

bool reader_is_exempt(const struct model *model, struct reader *reader)
{
	const struct hidepid *hidepid = &model->hidepid;

	if (is_exempt_at_sight(model, reader))
		return true;
	if (reader->sees == READER_UNKNOWN)
		reader->sees = hidepid->has_group && proc_in_group(model->proc, reader->tid,
								   hidepid->group)
				       ? READER_SEES_ALL
				       : READER_SEES_ITS_OWN;
	return reader->sees == READER_SEES_ALL;
}

bool reader_sees_all(const struct render *render)
{
	return is_exempt_at_sight(render->model, render->reader) ||
	       render->reader->sees == READER_SEES_ALL;
}
