/* SPDX-License-Identifier: Apache-2.0 */
/* Collectors that are absent, stuck, strange, or a user's own. */
#include "crew.h"
#include "listener.h"

static void assert_works_alone(void)
{
	assert_int_equal(ttmem_start(), 0);
	ttmem_alloc(0, TTMEM_DRAM, 1, 10, NULL);
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 10);
	assert_int_equal(ledgers_open(), 1);
	assert_int_equal(fds_of("socket:"), 0);
}

static void works_with_no_collector(void)
{
	assert_works_alone();
}

static void works_with_a_socket_path_that_is_nonsense(void)
{
	static const char *const nonsense[] = {"/",          "relative",        ".",
					       "/proc/self", "/proc/self/stat", "\xff\xfe"};

	for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++) {
		pid_t child = case_fork();

		if (child == 0) {
			setenv("TTMEM_SOCKET", nonsense[i], 1);
			assert_works_alone();
			_exit(0);
		}
		assert_int_equal(case_wait(child), 0);
	}
}

static void works_with_a_socket_path_that_is_too_long(void)
{
	static char name[4096];

	for (size_t length = 105; length < sizeof name - 1; length += length < 112 ? 1 : 1000) {
		pid_t child = case_fork();

		if (child == 0) {
			memset(name, 'x', length);
			name[0] = '/';
			setenv("TTMEM_SOCKET", name, 1);
			assert_works_alone();
			_exit(0);
		}
		assert_int_equal(case_wait(child), 0);
	}
}

static void works_with_a_socket_of_another_type(void)
{
	listener(SOCK_STREAM, 5);
	assert_int_equal(ttmem_start(), 0);
	listener_remove();
	assert_int_equal(fds_of("socket:"), 1);
}

/* If it did, nobody would ever wake it. */
static void a_full_backlog_never_blocks_the_first_call(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int listening = listener(SOCK_SEQPACKET, 0), sockets, fd;

	strcpy(address.sun_path, path);
	do
		fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);
	while (connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
	assert_int_equal(errno, EAGAIN);
	close(fd);
	sockets = fds_of("socket:");
	setenv("TTMEM", "1", 1);
	ttmem_alloc(0, TTMEM_DRAM, 1, 10, NULL);
	listener_remove();
	assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 10);
	assert_int_equal(fds_of("socket:"), sockets);
	close(listening);
}

static void a_users_own_collector_is_found(void)
{
	int listening = listener(SOCK_SEQPACKET, 5);

	if (access("/run/ttmemd/ttmemd.sock", F_OK) == 0) {
		listener_remove();
		case_skip("the system has a collector");
	}
	unsetenv("TTMEM_SOCKET");
	setenv("XDG_RUNTIME_DIR", runtime, 1);
	start_and_accept(listening);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		isolated(works_with_no_collector),
		isolated(works_with_a_socket_path_that_is_nonsense),
		isolated(works_with_a_socket_path_that_is_too_long),
		isolated(works_with_a_socket_of_another_type),
		isolated(a_full_backlog_never_blocks_the_first_call),
		isolated(a_users_own_collector_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
