/* SPDX-License-Identifier: MIT */
/*
 * kfd.c - which processes compute on AMD's GPUs and what memory they hold there, as amdgpu's
 * compute driver (KFD) tells in small files. A process that only draws is in none. The thread that
 * owns the inventory.
 *
 * Source: Linux drivers/gpu/drm/amd/amdkfd/kfd_process.c (proc/PID/vram_GPU, in bytes) and
 * kfd_topology.c (nodes/N/gpu_id; properties: "location_id", bus << 8 | device << 3 | function, and
 * "domain").
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gpu/sources.h"

#define TOPOLOGY "/sys/class/kfd/kfd/topology/nodes"
#define PROCESSES "/sys/class/kfd/kfd/proc"

/* Opens a listing below `root`; NULL when there is none. Its descriptor goes with it. */
static DIR *open_listing(const char *root, const char *path)
{
	int directory = pc__directory_open(root, path, NULL);
	DIR *listing = directory < 0 ? NULL : fdopendir(directory);

	if (!listing && directory >= 0)
		close(directory);
	return listing;
}

/* The number in a line "NAME NUMBER" of a node's properties; false when there is none. */
static bool find_property(const char *properties, const char *name, uint64_t *ret_number)
{
	size_t length = strlen(name);

	for (const char *line = properties; line; line = strchr(line, '\n')) {
		line += line != properties;
		if (strncmp(line, name, length) == 0 && line[length] == ' ')
			return sscanf(line + length, "%" SCNu64, ret_number) == 1;
	}
	return false;
}

/* Whether the node is the GPU at that address. */
static bool is_node_of(int nodes, const char *node, const char *pci_bus_id)
{
	char path[300], properties[4096], address[24];
	uint64_t location, domain;

	snprintf(path, sizeof(path), "%s/properties", node);
	if (pc__text_read(nodes, path, properties, sizeof(properties)) ||
	    !find_property(properties, "location_id", &location))
		return false;
	if (!find_property(properties, "domain", &domain))
		domain = 0;
	snprintf(address, sizeof(address), "%04x:%02x:%02x.%x", (unsigned)domain,
		 (unsigned)(location >> 8 & 0xff), (unsigned)(location >> 3 & 0x1f),
		 (unsigned)(location & 7));
	return strcmp(address, pci_bus_id) == 0;
}

/* KFD's own number of the GPU; false when it does not know it. */
static bool find_gpu_number(const char *root, const char *pci_bus_id, uint64_t *ret_number)
{
	DIR *nodes = open_listing(root, TOPOLOGY);
	char path[300];
	bool found = false;

	if (!nodes)
		return false;
	for (struct dirent *entry; !found && (entry = readdir(nodes));) {
		snprintf(path, sizeof(path), "%s/gpu_id", entry->d_name);
		/* 0 is a CPU. */
		found = entry->d_name[0] != '.' &&
			pc__number_in(dirfd(nodes), path, 10, ret_number) == 0 &&
			*ret_number != 0 && is_node_of(dirfd(nodes), entry->d_name, pci_bus_id);
	}
	closedir(nodes);
	return found;
}

void pc__kfd_processes(const char *root, struct pc_gpu *gpu)
{
	struct pc_gpu_process processes[PC__PROCESS_ROOM];
	uint64_t number, bytes;
	size_t count = 0;
	DIR *listing = find_gpu_number(root, gpu->pci_bus_id, &number)
			       ? open_listing(root, PROCESSES)
			       : NULL;
	char path[300];

	if (!listing)
		return;
	for (struct dirent *entry; count < PC__PROCESS_ROOM && (entry = readdir(listing));) {
		int64_t pid = strtoll(entry->d_name, NULL, 10);

		snprintf(path, sizeof(path), "%s/vram_%" PRIu64, entry->d_name, number);
		/* Every process of KFD's has the file of every GPU, and 0 in most. */
		if (pid <= 0 || pc__number_in(dirfd(listing), path, 10, &bytes) || bytes == 0 ||
		    bytes > INT64_MAX)
			continue;
		processes[count].pid = pid;
		processes[count++].vram_bytes = (int64_t)bytes;
	}
	closedir(listing);
	pc__processes_take(gpu, processes, count);
}
