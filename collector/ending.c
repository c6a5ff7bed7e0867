/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Until its parent has waited for it, /proc has the status, for those who might trace it. From then
 * on the kernel tells whoever holds a pidfd, since Linux 6.15. Older kernels leave it unknown.
 */
#include "ending.h"
#include "proc.h"
#include <assert.h>
#include <sys/ioctl.h>

/* struct pidfd_info of <linux/pidfd.h> in its first form, which headers here need not have. */
struct info {
	uint64_t mask;
	uint64_t cgroup_id;
	uint32_t ids[11];
	int32_t exit_code;
};
static_assert(sizeof(struct info) == 64, "the kernel's");

#define INFO_EXIT (1ull << 3)
#define GET_INFO  _IOWR(0xff, 11, struct info)

static bool ask_kernel(int pidfd, struct ending *ending)
{
	struct info info = {.mask = INFO_EXIT};

	if (ioctl(pidfd, GET_INFO, &info) || !(info.mask & INFO_EXIT))
		return false;
	proc_ending_decode(info.exit_code, ending);
	return true;
}

/* Its parent may wait for it between any two of these. */
void ending_note(const struct model *model, struct process *process, int pidfd)
{
	struct ending *ending = &process->ending;

	if (ask_kernel(pidfd, ending))
		return;
	proc_ending(model->proc, process->pid, process->start_ticks, ending);
	if (ending->how == ENDING_UNKNOWN || ending->how == ENDING_DETACHED)
		ask_kernel(pidfd, ending);
}
