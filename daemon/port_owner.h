/* SPDX-License-Identifier: MIT */
/*
 * port_owner.h - who listens on a worker's port. A port is promised before the worker listens on
 * it, so that a stranger may come first, or share it by SO_REUSEPORT; and whoever answers the
 * readiness probe there would be given our users' prompts.
 */
#ifndef DAEMON_PORT_OWNER_H
#define DAEMON_PORT_OWNER_H

#include <poolcore/error.h>

#include <sys/types.h>

/*
 * Whether every socket that can be given a connection to 127.0.0.1:port is open in a process of
 * the worker: `leader`, whoever is in the session that it leads, and all their descendants. As it
 * is at this moment: who shares the port afterwards is not seen.
 *
 * A listener on [::] counts, though IPV6_V6ONLY may keep it apart, which /proc does not tell; the
 * worker is then refused and gets another port. Reads /proc, which takes longer with the number of
 * processes: some 20 us each, when the worker's were not found among the first after `leader`.
 * Allocates little. Any thread.
 *
 * Errors: NOT_FOUND (nobody listens there); PORT_IN_USE (somebody else does; details: port, and
 * the other's pid if that can be seen); IO (/proc cannot be read); OUT_OF_MEMORY.
 */
int port_owner_check(uint16_t port, pid_t leader, struct pc_error *err);

#endif
