/* SPDX-License-Identifier: Apache-2.0 */
/* Whom the client gives its ledger to, and whose word it takes. */
#include "crew.h"
#include "listener.h"
#include <fcntl.h>
#include <grp.h>
#include <sys/statvfs.h>

#define SOMEBODY 65533
#define STRANGER 65532

static void become(uid_t uid)
{
	assert_int_equal(setgroups(0, NULL), 0);
	assert_int_equal(setresgid(uid, uid, uid), 0);
	assert_int_equal(setresuid(uid, uid, uid), 0);
}

/* Asks for a socket of each of the two kinds whose place the environment names. */
static void by_environment(int round)
{
	if (round == 0) {
		setenv("TTMEM_SOCKET", path, 1);
	} else {
		unsetenv("TTMEM_SOCKET");
		setenv("XDG_RUNTIME_DIR", runtime, 1);
	}
}

/* Whether a client of one user says hello to a collector of another. */
static bool says_hello(uid_t collector, uid_t client, int round)
{
	int listening, ready[2], done[2], connection;
	pid_t child, server;
	char byte = 0;

	assert_int_equal(pipe(ready) + pipe(done), 0);
	server = case_fork();
	if (server == 0) {
		close(done[1]);
		become(collector);
		umask(0);
		listening = listener(SOCK_SEQPACKET, 5);
		chmod(runtime, 0755);
		chmod(directory, 0755);
		if (write(ready[1], runtime, sizeof runtime) != sizeof runtime ||
		    read(done[0], &byte, 1) != 0)
			_exit(3);
		fcntl(listening, F_SETFL, O_NONBLOCK);
		connection = accept4(listening, NULL, NULL, 0);
		listener_remove();
		/* One that was closed at once is there, but has said nothing. */
		_exit(connection >= 0 && read(connection, &byte, 1) == 1);
	}
	assert_int_equal(read(ready[0], runtime, sizeof runtime), sizeof runtime);
	snprintf(path, sizeof path, "%s/ttmemd/ttmemd.sock", runtime);
	child = case_fork();
	if (child == 0) {
		become(client);
		by_environment(round);
		assert_int_equal(ttmem_start(), 0);
		ttmem_alloc(0, TTMEM_DRAM, 1, 10, NULL);
		assert_int_equal(totals_of(0, TTMEM_DRAM).live_bytes, 10);
		_exit(0);
	}
	assert_int_equal(case_wait(child), 0);
	close(done[1]);
	return case_wait(server);
}

static void only_roots_and_the_own_users_collector_are_trusted(void)
{
	static const struct {
		uid_t collector, client;
		bool trusted;
	} cases[] = {
		{0, 0, true},         {0, SOMEBODY, true},
		{SOMEBODY, 0, false}, {SOMEBODY, SOMEBODY, true},
		{STRANGER, 0, false}, {STRANGER, SOMEBODY, false},
	};

	if (geteuid() != 0)
		case_skip("only root can be several users");
	if (access("/run/ttmemd/ttmemd.sock", F_OK) == 0)
		case_skip("the system has a collector");
	for (int round = 0; round < 2; round++)
		for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
			assert_int_equal(says_hello(cases[i].collector, cases[i].client, round),
					 cases[i].trusted);
}

/* A copy of this program that runs as its owner, whoever starts it. */
static void setuid_copy(char *copy)
{
	char self[4096];
	ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
	char command[9000];

	assert_true(length > 0);
	self[length] = 0;
	strcpy(copy, P_tmpdir "/ttmem-setuid-XXXXXX");
	close(mkstemp(copy));
	snprintf(command, sizeof command, "cp '%s' %s && chown %d %s && chmod 4755 %s", self, copy,
		 SOMEBODY, copy, copy);
	assert_int_equal(system(command), 0);
}

static int run_as_a_stranger(const char *program, const char *mode)
{
	pid_t child = case_fork();

	if (child == 0) {
		become(STRANGER);
		setenv("TTMEM", "1", 1);
		setenv("TT_ALLOC_TRACKING_ENABLED", "1", 1);
		setenv("TTMEM_RECORDS", "256", 1);
		setenv("TTMEM_SOCKET", path, 1);
		execl(program, program, mode, NULL);
		_exit(9);
	}
	return case_wait(child);
}

static void a_setuid_program_ignores_the_environment(void)
{
	int listening, called, started, error, plain;
	struct statvfs mount;
	char copy[64];

	if (UNDER_ASAN)
		case_skip("the tool cannot look into a program that is set-user-id");
	if (geteuid() != 0)
		case_skip("only root can make a program of somebody else's");
	if (statvfs(P_tmpdir, &mount) || mount.f_flag & ST_NOSUID)
		case_skip("programs there are not set-user-id");
	listening = listener(SOCK_SEQPACKET, 5);
	chmod(runtime, 0755);
	chmod(directory, 0755);
	chmod(path, 0666);
	fcntl(listening, F_SETFL, O_NONBLOCK);
	setuid_copy(copy);
	called = run_as_a_stranger(copy, "call");
	started = run_as_a_stranger(copy, "start");
	error = accept4(listening, NULL, NULL, 0) < 0 ? errno : 0;
	/* Without the bit the same environment counts. */
	plain = chmod(copy, 0755) ? -1 : run_as_a_stranger(copy, "call");
	unlink(copy); /* whatever it did: such a program is not left behind */
	listener_remove();
	assert_int_equal(called, 0);
	assert_int_equal(started, 0);
	assert_int_equal(error, EAGAIN);
	assert_int_equal(plain, 10);
}

/* In the program that is set-user-id. */
static int privileged(const char *mode)
{
	struct ttmem_totals totals;

	if (strcmp(mode, "start") == 0)
		return ttmem_start() ? 4 : ledger_map()->record_capacity == 256 ? 5 : 0;
	ttmem_alloc(0, TTMEM_DRAM, 1, 10, NULL);
	if (ttmem_get_totals(0, TTMEM_DRAM, &totals) == 0)
		return (int)totals.live_bytes;
	return ledgers_open();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		isolated(only_roots_and_the_own_users_collector_are_trusted),
		isolated(a_setuid_program_ignores_the_environment),
	};

	if (argc > 1)
		return privileged(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
