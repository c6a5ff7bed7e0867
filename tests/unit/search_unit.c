/* SPDX-License-Identifier: Apache-2.0 */
/* What a collector takes of a process that it looks into. */
#include "filter.h"
#include "own_ledger.h"
#include "server.h"

static struct ledger_search search;

/* In ourselves, for a collector at this socket. */
static const struct finding *search_for(const char *socket)
{
	search.hash = ledger_socket_hash(socket);
	search.takes_unnamed = false;
	search.findings = g_array_new(FALSE, FALSE, sizeof(struct finding));
	ledger_search_process(&search, getpid());
	return search.findings->len ? &g_array_index(search.findings, struct finding, 0) : NULL;
}

static void the_ledger_and_its_doorbell_are_taken(void)
{
	const struct finding *finding;

	setenv("TTMEM_SOCKET", "/nowhere/ours", 1);
	assert_int_equal(ttmem_start(), 0);
	finding = search_for("/nowhere/ours");
	assert_non_null(finding);
	assert_true(finding->memfd >= 0 && finding->eventfd >= 0);
}

/* Whoever has another's ledger mapped, as a collector has, may have anything under the number. */
static void no_doorbell_is_taken_of_what_is_for_another(void)
{
	setenv("TTMEM_SOCKET", "/nowhere/anothers", 1);
	assert_int_equal(ttmem_start(), 0);
	filter_argument(SYS_pidfd_getfd, 1, ledger_map()->eventfd, SECCOMP_RET_KILL_PROCESS);
	assert_null(search_for("/nowhere/ours"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		isolated(the_ledger_and_its_doorbell_are_taken),
		isolated(no_doorbell_is_taken_of_what_is_for_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
