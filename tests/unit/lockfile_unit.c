/* SPDX-License-Identifier: Apache-2.0 */
/* One holder at a time, and nothing left behind. */
#include "lockfile.h"
#include "unit.h"
#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define TAKERS 4
#define TURNS  300

static char *dir, *path, *lock_path;

static int setup(void **state)
{
	(void)state;
	dir = unit_mkdir();
	path = g_build_filename(dir, "mnt", NULL);
	lock_path = g_strconcat(path, ".lock", NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	g_free(lock_path);
	g_free(path);
	unit_rmdir(dir);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void a_second_taker_is_turned_away(void **state)
{
	struct lockfile first, second;

	(void)state;
	assert_int_equal(lockfile_take(&first, path), 0);
	assert_int_equal(lockfile_take(&second, path), -EWOULDBLOCK);
	assert_int_equal(second.fd, -1);
	lockfile_drop(&second);
	assert_int_equal(lockfile_take(&second, path), -EWOULDBLOCK);
	lockfile_drop(&first);
	assert_int_equal(lockfile_take(&second, path), 0);
	lockfile_drop(&second);
}

static void another_process_is_turned_away(void **state)
{
	struct lockfile lock;
	pid_t child;
	int status;

	(void)state;
	assert_int_equal(lockfile_take(&lock, path), 0);
	child = fork();
	if (child == 0)
		_exit(lockfile_take(&lock, path) == -EWOULDBLOCK ? 0 : 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	lockfile_drop(&lock);
}

static void dropping_it_removes_the_file(void **state)
{
	struct lockfile lock;
	struct stat st;

	(void)state;
	assert_int_equal(lockfile_take(&lock, path), 0);
	assert_int_equal(stat(lock_path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	lockfile_drop(&lock);
	assert_int_equal(lock.fd, -1);
	assert_int_equal(access(lock_path, F_OK), -1);
	lockfile_drop(&lock);
}

static void what_a_dead_holder_left_can_be_taken(void **state)
{
	struct lockfile lock;
	pid_t child = fork();
	int status;

	(void)state;
	if (child == 0)
		_exit(lockfile_take(&lock, path) ? 1 : 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(access(lock_path, F_OK), 0);
	assert_int_equal(lockfile_take(&lock, path), 0);
	lockfile_drop(&lock);
}

static void a_file_that_somebody_removed_locks_nothing(void **state)
{
	struct lockfile first, second;

	(void)state;
	assert_int_equal(lockfile_take(&first, path), 0);
	assert_int_equal(unlink(lock_path), 0);
	assert_int_equal(lockfile_take(&second, path), 0);
	lockfile_drop(&second);
	lockfile_drop(&first);
}

static void says_why_it_cannot_be_taken(void **state)
{
	struct lockfile lock;
	char *nowhere = g_build_filename(dir, "missing", "mnt", NULL);

	(void)state;
	assert_int_equal(lockfile_take(&lock, nowhere), -ENOENT);
	assert_int_equal(lock.fd, -1);
	assert_int_equal(symlink("/dev/null", lock_path), 0);
	assert_int_equal(lockfile_take(&lock, path),
			 -ELOOP); /* who follows it could be led astray */
	assert_int_equal(unlink(lock_path), 0);
	assert_int_equal(mkdir(lock_path, 0700), 0);
	assert_int_equal(lockfile_take(&lock, path), -EISDIR);
	g_free(nowhere);
}

static unsigned int holders, turns, intruders;

/* Whoever has it has the file that is there, though others remove theirs between our open and our
 * lock. */
static void *taker_run(void *arg)
{
	struct lockfile lock;
	struct stat ours, there;

	(void)arg;
	while (__atomic_load_n(&turns, __ATOMIC_RELAXED) < TURNS) {
		if (lockfile_take(&lock, path)) {
			sched_yield();
			continue;
		}
		if (__atomic_add_fetch(&holders, 1, __ATOMIC_SEQ_CST) != 1 ||
		    fstat(lock.fd, &ours) || stat(lock_path, &there) || ours.st_ino != there.st_ino)
			__atomic_add_fetch(&intruders, 1, __ATOMIC_SEQ_CST);
		__atomic_sub_fetch(&holders, 1, __ATOMIC_SEQ_CST);
		__atomic_add_fetch(&turns, 1, __ATOMIC_SEQ_CST);
		lockfile_drop(&lock);
	}
	return NULL;
}

static void there_is_one_holder_while_files_come_and_go(void **state)
{
	pthread_t takers[TAKERS];

	(void)state;
	for (int i = 0; i < TAKERS; i++)
		assert_int_equal(pthread_create(&takers[i], NULL, taker_run, NULL), 0);
	for (int i = 0; i < TAKERS; i++)
		pthread_join(takers[i], NULL);
	assert_int_equal(intruders, 0);
	assert_int_equal(access(lock_path, F_OK), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_second_taker_is_turned_away),
		TEST(another_process_is_turned_away),
		TEST(dropping_it_removes_the_file),
		TEST(what_a_dead_holder_left_can_be_taken),
		TEST(a_file_that_somebody_removed_locks_nothing),
		TEST(says_why_it_cannot_be_taken),
		TEST(there_is_one_holder_while_files_come_and_go),
	};

	return RUN(tests);
}
