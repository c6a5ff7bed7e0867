/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon.h"
#include "alloc_server.h"
#include "descriptor.h"
#include "fs.h"
#include "kmd.h"
#include "lives.h"
#include "log.h"
#include "metal.h"
#include "native.h"
#include "outlook.h"
#include "places.h"
#include "server.h"
#include "ticker.h"
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const int end_signals[] = {SIGTERM, SIGINT, SIGHUP};

struct daemon {
	const struct options *options;
	struct places places;
	uv_loop_t loop;
	uv_signal_t signals[G_N_ELEMENTS(end_signals)];
	struct model model;
	struct lives lives;
	struct ticker ticker;
	struct kmd kmd;
	struct native native;
	struct metal metal;
	struct alloc alloc;
	struct alloc_server alloc_server;
	struct server server;
	struct outlook outlook;
	struct fs fs;
	bool ending;
	bool is_stuck; /* a thread hangs in the driver or in another process */
};

/* Each client takes five descriptors. */
static void raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* A signal that comes before the loop can take it waits, so that even then all is given back. */
static void hold_signals(bool hold)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < G_N_ELEMENTS(end_signals); i++)
		sigaddset(&set, end_signals[i]);
	pthread_sigmask(hold ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

/* The driver first: it numbers the devices. */
static void sources_init(struct daemon *daemon)
{
	const struct options *options = daemon->options;

	model_init(&daemon->model);
	daemon->model.hidepid = options->hidepid;
	lives_init(&daemon->lives, &daemon->loop, &daemon->model);
	kmd_init(&daemon->kmd, &daemon->model, options->driver_sysfs, options->driver_procfs);
	native_init(&daemon->native, &daemon->model);
	metal_init(&daemon->metal, &daemon->model, (const char *const *)options->shm->pdata);
	alloc_init(&daemon->alloc, &daemon->model);
	outlook_init(&daemon->outlook, &daemon->kmd, &daemon->metal, &daemon->server);
	daemon->model.history_seconds = options->history_seconds;
	ticker_init(&daemon->ticker, &daemon->loop, &daemon->model);
}

/* With their processes go the watches over these. */
static void sources_close(struct daemon *daemon)
{
	ticker_close(&daemon->ticker);
	outlook_close(&daemon->outlook, &daemon->kmd);
	alloc_server_close(&daemon->alloc_server);
	metal_fini(&daemon->metal);
	daemon->is_stuck =
		daemon->fs.is_stuck || !kmd_fini(&daemon->kmd) || daemon->server.errands.running;
	lives_close(&daemon->lives);
}

/* Everything is closed here, and the loop ends when the last handle has. */
static void daemon_end(struct daemon *daemon)
{
	if (daemon->ending)
		return;
	daemon->ending = true;
	hold_signals(true); /* a second one must not cut this short */
	for (size_t i = 0; i < G_N_ELEMENTS(end_signals); i++)
		uv_close((uv_handle_t *)&daemon->signals[i], NULL);
	daemon->model.changed = NULL;
	daemon->model.rung = NULL;
	server_close(&daemon->server);
	fs_close(&daemon->fs);
	sources_close(daemon);
	uv_stop(&daemon->loop); /* once the handles are closed, whatever threads are doing */
}

static void on_signal(uv_signal_t *handle, int number)
{
	log_info("ending: signal %d (%s)", number, strsignal(number));
	daemon_end(handle->data);
}

static void on_unmounted(void *data)
{
	struct daemon *daemon = data;

	if (!daemon->ending)
		log_warning("ending: somebody has unmounted %s", daemon->options->mount);
	daemon_end(daemon);
}

static void fill_status(struct status *status, void *data)
{
	struct daemon *daemon = data;

	status->clients = daemon->server.clients;
	status->rejected_clients = daemon->server.rejected;
	status->doorbells = daemon->server.rings;
	status->silent_connections = daemon->server.silent.length;
	status->alloc_connections = daemon->alloc_server.peers.length;
	status->alloc_messages = daemon->alloc_server.messages;
	status->alloc_garbage_bytes = daemon->alloc_server.garbage_bytes;
	status->alloc_lost_events = daemon->alloc_server.lost_events;
	status->alloc_lost_answers = daemon->alloc_server.lost_answers;
	status->alloc_rejected = daemon->alloc_server.rejected;
	fs_status(&daemon->fs, status);
}

static void on_changed(enum model_change change, struct process *process, struct device *device,
		       void *data)
{
	struct daemon *daemon = data;

	births_changed(&daemon->fs, change, process, device);
	news_changed(&daemon->fs, change, process, device);
}

static void on_rung(struct process *process, void *data)
{
	news_rung(&((struct daemon *)data)->fs, process);
}

static int start(struct daemon *daemon)
{
	const struct options *options = daemon->options;
	int error = server_init(&daemon->server, &daemon->loop, &daemon->native, options->socket,
				options->default_socket);

	if (error)
		return config_fault("cannot listen at %s: %s", options->socket, g_strerror(-error));
	error = options->alloc_socket ? alloc_server_init(&daemon->alloc_server, &daemon->loop,
							  &daemon->alloc, options->alloc_socket)
				      : 0;
	if (error) {
		server_close(&daemon->server);
		return config_fault("cannot listen at %s (%s): give another --alloc-server=PATH",
				    options->alloc_socket, g_strerror(-error));
	}
	error = fs_init(&daemon->fs, &daemon->loop, &daemon->model, options->mount);
	if (error) {
		server_close(&daemon->server);
		return config_fault("cannot mount at %s: see the message above", options->mount);
	}
	fs_be_eager(&daemon->fs, options->busy_poll_us);
	daemon->fs.news.interval_ns = options->notify_ms * UINT64_C(1000000);
	daemon->fs.news.errands = &daemon->server.errands;
	daemon->model.changed = on_changed;
	daemon->model.rung = on_rung;
	daemon->model.news_data = daemon;
	daemon->fs.status = fill_status;
	daemon->fs.status_data = daemon;
	daemon->fs.unmounted = on_unmounted;
	daemon->fs.unmounted_data = daemon;
	for (size_t i = 0; i < G_N_ELEMENTS(end_signals); i++) {
		uv_signal_init(&daemon->loop, &daemon->signals[i]);
		daemon->signals[i].data = daemon;
		uv_signal_start(&daemon->signals[i], on_signal, end_signals[i]);
	}
	return 0;
}

/* A thread waits for another process or the driver, perhaps for ever: what it uses must stay. */
static void end_at_once(struct daemon *daemon, int status)
{
	places_give_back(&daemon->places);
	descriptors_abandon();
	_exit(status);
}

int daemon_run(const struct options *options, void (*ready)(void *data), void *data)
{
	struct daemon *daemon = g_new0(struct daemon, 1);
	int status;

	daemon->options = options;
	signal(SIGPIPE, SIG_IGN);
	hold_signals(true);
	raise_limits();
	status = places_take(&daemon->places, options);
	if (!status) {
		uv_loop_init(&daemon->loop);
		sources_init(daemon);
		status = start(daemon);
		if (!status) {
			log_info("ttmemd " TTMEM_VERSION " serves %s, clients connect to %s",
				 options->mount, options->socket);
			ready(data);
			hold_signals(false);
		} else {
			sources_close(daemon);
		}
		uv_run(&daemon->loop, UV_RUN_DEFAULT);
		if (uv_loop_alive(&daemon->loop) || daemon->is_stuck)
			end_at_once(daemon, status);
		server_fini(&daemon->server);
		if (daemon->fs.session)
			fs_fini(&daemon->fs);
		alloc_server_fini(&daemon->alloc_server);
		alloc_fini(&daemon->alloc);
		native_fini(&daemon->native);
		model_fini(&daemon->model);
		uv_loop_close(&daemon->loop);
	}
	places_give_back(&daemon->places);
	descriptors_abandon();
	g_free(daemon);
	return status;
}
