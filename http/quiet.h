/* SPDX-License-Identifier: MIT */
/* quiet.h - whether nothing lies on a connection in either direction. Inside http/ only. */
#ifndef HTTP_QUIET_H
#define HTTP_QUIET_H

enum http__quiet {
	QUIET,
	QUIET_ENDED, /* the peer has closed it, or it is broken */
	QUIET_SPOKE, /* bytes wait to be read */
	QUIET_OWES,  /* the peer has not taken all that was sent to it */
};

/*
 * Asks the kernel about a connected socket; nothing is read from it. "Taken" means read by the peer
 * of a Unix socket, and acknowledged by the kernel of a TCP one, which says less.
 */
enum http__quiet http__quiet(int fd);

#endif
