/* SPDX-License-Identifier: Apache-2.0 */
/* The library in plugins that come and go, and itself loaded at run time. */
#include "crew.h"
#include "own_ledger.h"
#include <dlfcn.h>

#define BUFFERS 1000

struct plugin {
	void *object;
	int (*start)(void);
	void (*alloc)(uint64_t address, uint64_t size);
	void (*free)(uint64_t address);
	uint64_t (*live)(void);
};

static struct plugin plugin;

/* `build/NAME`, from where this program is. */
static void *load(const char *name)
{
	char path[4096];
	ssize_t length = readlink("/proc/self/exe", path, sizeof path - 100);
	void *object;

	assert_true(length > 0);
	path[length] = 0;
	*strrchr(path, '/') = 0; /* the program */
	strcat(path, "/../../");
	strcat(path, name);
	object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!object)
		fail_msg("%s", dlerror());
	return object;
}

/* A function, without the cast that ISO C does not know. */
static void *symbol(void *object, const char *name)
{
	void *found = dlsym(object, name);

	assert_non_null(found);
	return found;
}

static void plugin_load(const char *name)
{
	void *object = load(name);

	plugin.object = object;
	*(void **)&plugin.start = symbol(object, "plugin_start");
	*(void **)&plugin.alloc = symbol(object, "plugin_alloc");
	*(void **)&plugin.free = symbol(object, "plugin_free");
	*(void **)&plugin.live = symbol(object, "plugin_live");
}

static int mapped_ledgers(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	uint64_t last = 0, inode;
	int count = 0;
	char line[512];

	assert_non_null(maps);
	while (fgets(line, sizeof line, maps)) {
		if (!strstr(line, LEDGER_NAME) ||
		    sscanf(line, "%*s %*s %*s %*s %lu", &inode) != 1 || inode == last)
			continue;
		last = inode;
		count++;
	}
	fclose(maps);
	return count;
}

static void *use(void *arg)
{
	(void)arg;
	for (uint64_t i = 0; i < BUFFERS; i++)
		plugin.alloc(i << 8 | 7, 10);
	for (uint64_t i = 0; i < BUFFERS; i++)
		plugin.free(i << 8 | 7);
	return NULL;
}

static void use_in_threads(void)
{
	pthread_t threads[3];

	for (int i = 0; i < 3; i++) {
		assert_int_equal(pthread_create(&threads[i], NULL, use, NULL), 0);
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	}
}

static void the_library_stays_when_its_plugin_is_closed(void)
{
	for (uint64_t i = 1; i <= 5; i++) {
		plugin_load("tests/plugin/with_library.so");
		assert_int_equal(plugin.start(), 0);
		use_in_threads();
		plugin.alloc(i, 10);
		plugin.alloc(0xdead, 7);
		assert_int_equal(plugin.live(), i * 10 + 7);
		assert_int_equal(dlclose(plugin.object), 0);
		assert_int_equal(ledgers_open(), 1);
		assert_int_equal(mapped_ledgers(), 1);
	}
}

static void a_plugin_with_the_archive_takes_all_with_it(void)
{
	for (int i = 0; i < 5; i++) {
		int fds = fds_of("");

		plugin_load("tests/plugin/with_archive.so");
		assert_int_equal(plugin.start(), 0);
		use_in_threads();
		plugin.alloc(1, 10);
		assert_int_equal(plugin.live(), 10);
		assert_int_equal(ledgers_open(), 1);
		assert_int_equal(dlclose(plugin.object), 0);
		assert_int_equal(fds_of(""), fds);
		assert_int_equal(mapped_ledgers(), 0);
		assert_null(dlsym(RTLD_DEFAULT, "plugin_live"));
	}
}

static void call_and_outlive(struct crew *crew, unsigned int self)
{
	plugin.alloc(self, 10);
	crew_pause(crew); /* the plugin goes */
}

static void threads_outlive_the_plugin_that_they_have_called(void)
{
	static const char *const names[] = {"tests/plugin/with_library.so",
					    "tests/plugin/with_archive.so"};

	for (int i = 0; i < 2; i++) {
		struct crew crew;

		plugin_load(names[i]);
		assert_int_equal(plugin.start(), 0);
		crew_begin(&crew, 3, call_and_outlive);
		crew_halt(&crew);
		assert_int_equal(plugin.live(), 30);
		assert_int_equal(dlclose(plugin.object), 0);
		crew_resume(&crew);
		crew_end(&crew);
	}
}

static void a_fork_after_the_plugin_has_gone_is_a_fork(void)
{
	pid_t child;

	plugin_load("tests/plugin/with_archive.so");
	assert_int_equal(plugin.start(), 0);
	plugin.alloc(1, 10);
	assert_int_equal(dlclose(plugin.object), 0);
	child = case_fork();
	if (child == 0)
		_exit(fds_of("/memfd:"));
	assert_int_equal(case_wait(child), 0);
}

static void the_library_can_be_loaded_and_closed_at_any_time(void)
{
	const char *(*version)(void);
	int (*start)(void);

	for (int i = 0; i < 5; i++) {
		void *object = load("libttmem.so.0");

		*(void **)&version = symbol(object, "ttmem_version");
		*(void **)&start = symbol(object, "ttmem_start");
		assert_int_equal(start(), 0);
		assert_int_equal(dlclose(object), 0);
		assert_string_equal(version(), TTMEM_VERSION);
		assert_int_equal(ledgers_open(), 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		isolated(the_library_stays_when_its_plugin_is_closed),
		isolated(a_plugin_with_the_archive_takes_all_with_it),
		isolated(threads_outlive_the_plugin_that_they_have_called),
		isolated(a_fork_after_the_plugin_has_gone_is_a_fork),
		isolated(the_library_can_be_loaded_and_closed_at_any_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
