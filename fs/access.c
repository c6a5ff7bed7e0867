/* SPDX-License-Identifier: Apache-2.0 */
#include "access.h"
#include <errno.h>

/* In a process's directory, or itself one. Its own user sees it, and who sees everything. */
static bool is_of_process(const struct spot *spot)
{
	return spot->process;
}

static bool is_private_dir(const struct spot *spot)
{
	return spot->place == PLACE_PROCESS || spot->place == PLACE_PROCESS_DEVICE ||
	       spot->place == PLACE_DEVICE_PIDS;
}

static bool is_private(const struct model *model, const struct spot *spot)
{
	if (model->hidepid.mode == HIDEPID_OFF || spot->is_link)
		return false;
	return spot->entry ? spot->entry->is_private : is_private_dir(spot);
}

static bool is_hidden(const struct model *model, const struct spot *spot)
{
	return model->hidepid.mode == HIDEPID_INVISIBLE && is_of_process(spot);
}

/* Files in a process's directory keep their mode: the way to them is closed. */
mode_t access_mode(const struct model *model, const struct spot *spot, mode_t mode)
{
	if (!is_private(model, spot))
		return mode;
	return mode & ~(model->hidepid.has_group ? S_IRWXO : S_IRWXG | S_IRWXO);
}

gid_t access_group(const struct model *model, const struct spot *spot)
{
	if (is_private(model, spot) && model->hidepid.has_group)
		return model->hidepid.group;
	return is_of_process(spot) ? spot->process->gid : model->group;
}

bool access_shows(const struct model *model, const struct spot *spot, struct reader *reader)
{
	return !is_hidden(model, spot) || spot->process->uid == reader->uid ||
	       reader_is_exempt(model, reader);
}

int access_find(const struct model *model, const struct spot *dir, const char *name,
		struct reader *reader, struct spot *spot)
{
	uint64_t ino = tree_lookup(model, dir, name);

	if (ino && tree_resolve(model, ino, spot) == 0 && access_shows(model, spot, reader))
		return 0;
	/* Whether it is hidden or not there takes the same time: the reader was looked up for the
	 * one, and is for the other. */
	if (model->hidepid.mode == HIDEPID_INVISIBLE &&
	    (dir->place == PLACE_PIDS || dir->place == PLACE_DEVICE_PIDS))
		reader_is_exempt(model, reader);
	return -ENOENT;
}

/* A name that is asked for each time costs one thing more: when it is not there for a reader, the
 * kernel drops what it knew of it, and getcwd(2) fails for those who are there until one of them
 * looks it up again. procfs does not have this; FUSE knows no other way to hide a name. */
bool access_differs(const struct model *model, const struct spot *spot)
{
	return is_hidden(model, spot) || (spot->entry && is_private(model, spot));
}

bool access_is_whole(const struct model *model, const struct spot *spot, struct reader *reader)
{
	if (!spot->entry || is_of_process(spot) ||
	    (spot->entry->shape == SHAPE_VALUE && !is_private(model, spot)))
		return true;
	return reader_is_exempt(model, reader);
}
