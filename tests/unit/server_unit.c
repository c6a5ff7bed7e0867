/* SPDX-License-Identifier: Apache-2.0 */
/* The socket: who comes, who goes, and who would keep it busy. */
#include "fds.h"
#include "forged.h"
#include "log.h"
#include "server.h"
#include <dirent.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define FLOODS   3
#define VISITORS 50
#define PATIENCE 5000 /* turns of the loop, of at least a millisecond each */

struct site {
	uv_loop_t loop;
	struct model model;
	struct native native;
	struct server server;
	char *dir, *path;
};

static unsigned int warnings;

static GLogWriterOutput count_warning(GLogLevelFlags level, const GLogField *fields, gsize count,
				      gpointer data)
{
	(void)fields, (void)count, (void)data;
	warnings += level == G_LOG_LEVEL_WARNING;
	return G_LOG_WRITER_HANDLED;
}

/* Turns the loop until the condition holds, but not for ever; then says whether it does. */
#define until(site, condition)                                \
	({                                                    \
		int turns = PATIENCE;                         \
                                                              \
		while (!(condition) && turns--) {             \
			uv_run(&(site)->loop, UV_RUN_NOWAIT); \
			usleep(1000);                         \
		}                                             \
		condition;                                    \
	})

static int site_setup(void **state)
{
	struct site *site = g_new0(struct site, 1);

	site->dir = unit_mkdir();
	site->path = g_build_filename(site->dir, "socket", NULL);
	forge_path = site->path;
	uv_loop_init(&site->loop);
	model_init(&site->model);
	native_init(&site->native, &site->model);
	assert_int_equal(server_init(&site->server, &site->loop, &site->native, site->path, false),
			 0);
	assert_true(until(site, !site->server.scanning));
	*state = site;
	return 0;
}

static int site_teardown(void **state)
{
	struct site *site = *state;

	server_close(&site->server);
	uv_run(&site->loop, UV_RUN_DEFAULT);
	server_fini(&site->server);
	native_fini(&site->native);
	model_fini(&site->model);
	assert_int_equal(uv_loop_close(&site->loop), 0);
	assert_int_equal(access(site->path, F_OK), -1);
	g_free(site->path);
	unit_rmdir(site->dir);
	g_free(site);
	return 0;
}

#define CLAIM(name) cmocka_unit_test_setup_teardown(name, site_setup, site_teardown)

static int fds_open(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* Not those of errands, which may look into other processes for as long as those are stuck. */
static int sockets_open(void)
{
	return fds_of("socket:");
}

static int processes(const struct site *site)
{
	return g_tree_nnodes(site->model.processes);
}

/* A process with a ledger, which says that it has come and stays until it may go. */
struct visitor {
	pid_t pid;
	int go; /* a byte lets it go */
};

static struct visitor visitor_start(void)
{
	int come[2], go[2];
	char byte = 0;
	struct visitor visitor;

	assert_int_equal(pipe2(come, O_CLOEXEC) | pipe2(go, O_CLOEXEC), 0);
	visitor.pid = fork();
	if (visitor.pid == 0) {
		struct forgery ledger = forge_ledger(256);
		int socket = forge_offer(&ledger, FORGE_SEALS);

		if (write(come[1], &byte, 1) != 1 || read(go[0], &byte, 1) != 1)
			_exit(1);
		close(socket);
		_exit(0);
	}
	close(come[1]);
	close(go[0]);
	assert_int_equal(read(come[0], &byte, 1), 1);
	close(come[0]);
	visitor.go = go[1];
	return visitor;
}

static void visitor_end(struct visitor visitor)
{
	int status;

	assert_int_equal(write(visitor.go, "", 1), 1);
	close(visitor.go);
	assert_int_equal(waitpid(visitor.pid, &status, 0), visitor.pid);
	assert_int_equal(status, 0);
}

static void a_process_comes_with_its_hello_and_goes_with_its_end(void **state)
{
	struct site *site = *state;
	struct visitor visitor = visitor_start();
	int fds = fds_open();

	model_sync(&site->model, NULL); /* at once, without a turn of the loop */
	assert_int_equal(processes(site), 1);
	assert_non_null(model_process_by_pid(&site->model, visitor.pid));
	assert_int_equal(site->server.clients, 1);
	visitor_end(visitor);
	assert_true(until(site, processes(site) == 0 && fds_open() < fds));
	assert_int_equal(site->server.clients, 0);
	assert_int_equal(site->server.rejected, 0);
}

static bool floods_run;

static void *flood(void *arg)
{
	const struct site *site = arg;
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	g_strlcpy(address.sun_path, site->path, sizeof address.sun_path);
	while (__atomic_load_n(&floods_run, __ATOMIC_RELAXED)) {
		int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

		if (fd < 0)
			continue;
		if (connect(fd, (struct sockaddr *)&address, sizeof address))
			sched_yield(); /* the queue is full */
		close(fd);
	}
	return NULL;
}

/* One drain while they come. Were it to go on until nobody waits, it would end when there are no
 * descriptors left. */
static bool drains_in_a_flood(struct site *site)
{
	pthread_t floods[FLOODS];

	__atomic_store_n(&floods_run, true, __ATOMIC_RELAXED);
	for (int i = 0; i < FLOODS; i++)
		assert_int_equal(pthread_create(&floods[i], NULL, flood, site), 0);
	server_drain(&site->server);
	__atomic_store_n(&floods_run, false, __ATOMIC_RELAXED);
	for (int i = 0; i < FLOODS; i++)
		pthread_join(floods[i], NULL);
	return !site->server.failing;
}

static void a_flood_of_connections_does_not_keep_the_loop(void **state)
{
	struct site *site = *state;
	int sockets = sockets_open();
	struct rlimit limit, less;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	less = limit;
	less.rlim_cur = MIN(limit.rlim_max, 4000);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &less), 0);
	for (int i = 0; i < 5; i++) {
		assert_true(drains_in_a_flood(site));
		assert_true(until(site, sockets_open() <= sockets));
	}
	setrlimit(RLIMIT_NOFILE, &limit);
}

static sem_t stuck;

static void get_stuck(void *data)
{
	(void)data;
	sem_wait(&stuck);
}

static void get_free(void *data, void *owner)
{
	(void)owner;
	--*(int *)data;
}

/* Another process's maps can take for ever to read: who reads them then keeps nothing of others. */
static void who_ended_is_given_back_while_all_errands_of_the_user_are_stuck(void **state)
{
	struct site *site = *state;
	struct visitor visitors[VISITORS];
	int errands = ERRANDS_MAX_PER_USER;
	int fds = fds_open();
	bool given_back;

	sem_init(&stuck, 0, 0);
	for (int i = 0; i < ERRANDS_MAX_PER_USER; i++)
		errand_begin(&site->server.errands, getuid(), get_stuck, get_free, &errands, site);
	for (int i = 0; i < VISITORS; i++)
		visitors[i] = visitor_start();
	assert_true(until(site, processes(site) == VISITORS));
	for (int i = 0; i < VISITORS; i++)
		visitor_end(visitors[i]);
	given_back = until(site, processes(site) == 0 && fds_open() <= fds);
	for (int i = 0; i < ERRANDS_MAX_PER_USER; i++)
		sem_post(&stuck);
	assert_true(until(site, !errands));
	assert_true(given_back);
}

static void say(const char *text)
{
	int fd = forge_connect();

	assert_int_equal(forge_send(fd, text, strlen(text), NULL, 0), strlen(text));
	close(fd);
}

static void whoever_is_refused_again_and_again_does_not_fill_the_log(void **state)
{
	struct site *site = *state;
	unsigned int before = warnings;

	for (int i = 0; i < 500; i++) {
		int fd = forge_connect();

		forge_send_hello(fd, NULL, 0);
		close(fd);
		say("garbage");
		uv_run(&site->loop, UV_RUN_NOWAIT);
	}
	assert_true(until(site, site->server.rejected == 1000));
	assert_in_range(warnings - before, 2, 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CLAIM(a_process_comes_with_its_hello_and_goes_with_its_end),
		CLAIM(a_flood_of_connections_does_not_keep_the_loop),
		CLAIM(who_ended_is_given_back_while_all_errands_of_the_user_are_stuck),
		CLAIM(whoever_is_refused_again_and_again_does_not_fill_the_log),
	};

	g_log_set_writer_func(count_warning, NULL, NULL);
	return RUN(tests);
}
