/* SPDX-License-Identifier: MIT */
/*
 * sysfs.c - the graphics devices that the kernel knows, and what amdgpu tells of AMD's. It reads
 * small files and nothing else. The thread that owns the inventory.
 *
 * Sources: Linux Documentation/gpu/amdgpu/driver-misc.rst (mem_info_vram_*, product_name,
 * unique_id), .../thermal.rst (gpu_busy_percent, hwmon), Documentation/hwmon/sysfs-interface.rst
 * (units).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "gpu/sources.h"

#define DRM "/sys/class/drm"

/* ---- small files ---- */

int pc__text_read(int directory, const char *path, char *out, size_t size)
{
	int fd = openat(directory, path, O_RDONLY | O_CLOEXEC);
	ssize_t length;

	if (fd < 0)
		return -errno;
	do {
		length = read(fd, out, size - 1);
	} while (length < 0 && errno == EINTR);

	int failure = length < 0 ? -errno : 0;

	close(fd);
	if (failure)
		return failure;
	out[length] = '\0';
	if (length > 0 && out[length - 1] == '\n')
		out[length - 1] = '\0';
	pc__tidy(out, size);
	return 0;
}

int pc__number_in(int directory, const char *path, int base, uint64_t *ret_number)
{
	char text[64], *end;
	int rc = pc__text_read(directory, path, text, sizeof(text));

	if (rc)
		return rc;
	errno = 0;

	unsigned long long number = strtoull(text, &end, base);

	if (errno || end == text || *end || strchr(text, '-'))
		return -EINVAL;
	*ret_number = number;
	return 0;
}

int pc__directory_open(const char *root, const char *path, const char *name)
{
	char full[PATH_MAX];
	int length = snprintf(full, sizeof(full), "%s%s%s%s", root, path, name ? "/" : "",
			      name ? name : "");

	if (length < 0 || (size_t)length >= sizeof(full))
		return -1;
	return open(full, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* ---- which there are ---- */

/* "card0" and "renderD128", and not their connectors "card0-DP-1". */
static bool is_node(const char *name)
{
	size_t prefix = strncmp(name, "card", 4) == 0	   ? 4
			: strncmp(name, "renderD", 7) == 0 ? 7
							   : 0;
	size_t digits = strspn(name + prefix, "0123456789");

	return prefix > 0 && digits > 0 && name[prefix + digits] == '\0';
}

/* Its PCI address, which `uevent` has as "PCI_SLOT_NAME=0000:03:00.0"; a virtual device has
 * none. */
static bool read_address(int directory, char *out, size_t size)
{
	char text[2048], address[24];
	const char *at;
	int length = 0;

	if (pc__text_read(directory, "device/uevent", text, sizeof(text)))
		return false;
	at = strstr(text, "PCI_SLOT_NAME=");
	if (!at || sscanf(at, "PCI_SLOT_NAME=%23[0-9a-f:.]%n", address, &length) != 1 ||
	    (at[length] && at[length] != '\n'))
		return false;
	snprintf(out, size, "%s", address);
	return true;
}

static bool read_card(int drm, const char *name, struct pc__card *card)
{
	int directory = openat(drm, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t vendor = 0, device = 0;

	if (directory < 0)
		return false;

	bool found = read_address(directory, card->pci_bus_id, sizeof(card->pci_bus_id)) &&
		     pc__number_in(directory, "device/vendor", 16, &vendor) == 0;

	if (found) {
		if (pc__number_in(directory, "device/device", 16, &device))
			device = 0;
		card->vendor_id = (unsigned)vendor;
		card->device_id = (unsigned)device;
		memcpy(card->directory, name, strlen(name) + 1); /* the caller has measured it */
	}
	close(directory);
	return found;
}

/* By address, and of one device "card0" before "renderD128". */
static int compare_cards(const void *a, const void *b)
{
	const struct pc__card *left = a, *right = b;
	int order = strcmp(left->pci_bus_id, right->pci_bus_id);

	return order ? order : strcmp(left->directory, right->directory);
}

size_t pc__cards_find(const char *root, struct pc__card cards[PC__CARD_MAX])
{
	int drm = pc__directory_open(root, DRM, NULL);
	DIR *listing = drm < 0 ? NULL : fdopendir(drm);
	size_t found = 0, count = 0;

	if (!listing) {
		if (drm >= 0)
			close(drm);
		return 0;
	}
	for (struct dirent *entry; found < PC__CARD_MAX && (entry = readdir(listing));) {
		if (strlen(entry->d_name) < sizeof(cards[0].directory) && is_node(entry->d_name) &&
		    read_card(drm, entry->d_name, &cards[found]))
			found++;
	}
	closedir(listing);
	qsort(cards, found, sizeof(cards[0]), compare_cards);
	/* A device has a node for screens and one for computing. */
	for (size_t i = 0; i < found; i++) {
		if (count == 0 || strcmp(cards[i].pci_bus_id, cards[count - 1].pci_bus_id) != 0)
			cards[count++] = cards[i];
	}
	return count;
}

/* ---- AMD ---- */

/* Some files read empty on cards that have no such name. The identifier has the form in which ROCm
 * takes it (ROCR_VISIBLE_DEVICES). */
static void read_identity(int directory, const struct pc__card *card, struct pc_gpu *gpu)
{
	uint64_t id = 0;

	if (pc__text_read(directory, "product_name", gpu->name, sizeof(gpu->name)) || !gpu->name[0])
		snprintf(gpu->name, sizeof(gpu->name), "AMD GPU %04x", card->device_id);
	if (pc__number_in(directory, "unique_id", 16, &id) == 0 && id != 0)
		snprintf(gpu->uuid, sizeof(gpu->uuid), "GPU-%016llx", (unsigned long long)id);
	snprintf(gpu->pci_bus_id, sizeof(gpu->pci_bus_id), "%s", card->pci_bus_id);
}

/* The number of the device's sensors, which the kernel counts over the whole machine: "hwmon3". */
static void read_sensors(int directory, struct pc_gpu *gpu)
{
	int hwmon = openat(directory, "hwmon", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *listing = hwmon < 0 ? NULL : fdopendir(hwmon);
	uint64_t millidegree, microwatt;
	char path[300];

	if (!listing) {
		if (hwmon >= 0)
			close(hwmon);
		return;
	}
	for (struct dirent *entry; (entry = readdir(listing));) {
		if (strncmp(entry->d_name, "hwmon", 5) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/temp1_input", entry->d_name);
		if (pc__number_in(hwmon, path, 10, &millidegree) == 0 && millidegree < 1000000)
			gpu->temperature_c = (int)(millidegree / 1000);
		/* Newer cards have no average, but the figure of the moment. */
		snprintf(path, sizeof(path), "%s/power1_input", entry->d_name);
		if (pc__number_in(hwmon, path, 10, &microwatt) == 0 &&
		    microwatt / 1000 <= INT32_MAX)
			gpu->power_mw = (int)(microwatt / 1000);
		snprintf(path, sizeof(path), "%s/power1_average", entry->d_name);
		if (pc__number_in(hwmon, path, 10, &microwatt) == 0 &&
		    microwatt / 1000 <= INT32_MAX)
			gpu->power_mw = (int)(microwatt / 1000);
		break;
	}
	closedir(listing);
}

static int memory_failed(struct pc_gpu *gpu, const char *file, int failure)
{
	char text[128];

	snprintf(gpu->error, sizeof(gpu->error), "%s of %s: %s", file, gpu->pci_bus_id,
		 failure == -EINVAL ? "not a number of bytes"
				    : strerror_r(-failure, text, sizeof(text)));
	return failure;
}

static int read_memory(int directory, struct pc_gpu *gpu)
{
	uint64_t total = 0, used = 0;
	int rc = pc__number_in(directory, "mem_info_vram_total", 10, &total);

	if (rc)
		return memory_failed(gpu, "mem_info_vram_total", rc);
	rc = pc__number_in(directory, "mem_info_vram_used", 10, &used);
	if (rc)
		return memory_failed(gpu, "mem_info_vram_used", rc);
	/* They are read one after the other, from counters of different kinds. */
	gpu->vram_total_bytes = total;
	gpu->vram_used_bytes = used < total ? used : total;
	gpu->vram_free_bytes = total - gpu->vram_used_bytes;
	return 0;
}

bool pc__amd_read(const char *root, const struct pc__card *card, struct pc_gpu *ret_gpu)
{
	struct pc_gpu gpu = {
		.vendor = PC_GPU_AMD, .temperature_c = -1, .utilisation_percent = -1, .power_mw = -1
	};
	char path[64];
	uint64_t busy;

	snprintf(path, sizeof(path), "%s/device", card->directory);

	int directory = pc__directory_open(root, DRM, path);

	if (directory < 0)
		return false;
	/* Without the file it has another driver, or memory of the machine only. */
	if (faccessat(directory, "mem_info_vram_total", F_OK, 0)) {
		close(directory);
		return false;
	}
	read_identity(directory, card, &gpu);
	if (read_memory(directory, &gpu) == 0) {
		pc__kfd_processes(root, &gpu);
		if (pc__number_in(directory, "gpu_busy_percent", 10, &busy) == 0 && busy <= 100)
			gpu.utilisation_percent = (int)busy;
		read_sensors(directory, &gpu);
	}
	close(directory);
	*ret_gpu = gpu;
	return true;
}
