/* SPDX-License-Identifier: MIT */
/*
 * ledger.c - what every device's memory is promised to. It adds up and refuses; it does not know
 * workers, measure memory, or choose whom to evict. Any thread, without locks.
 *
 * Each device has two words that change, `reserved` and `budget`. A reservation is one
 * compare-and-swap of `reserved`, so two callers cannot both be given the last gigabyte.
 *
 * A budget may be lowered between a reserver's reading it and its swap. The reserver therefore
 * reads the budget once more afterwards and gives the bytes back if they no longer fit. Both sides
 * are sequentially consistent: either the reserver's second look sees the lower budget, or that
 * budget was stored after the look, and then the reservation came first. So once
 * pc_ledger_set_budget has returned, no reservation is granted beyond the new budget. In the moment
 * between swap and second look another reserver may be refused although it would fit; it is told
 * the same as a moment later or earlier.
 */
#include <poolcore/memory.h>

#include <assert.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "reservations must not take a hidden lock");

struct device {
	char name[PC_DEVICE_NAME_MAX];	 /* [const after the ledger is shared] */
	uint64_t total_bytes;		 /* [const after the ledger is shared] */
	_Atomic uint64_t budget_bytes;	 /* [any thread; see the orders below] */
	_Atomic uint64_t budget_changes; /* [any thread] how many have begun */
	_Atomic uint64_t reserved_bytes; /* [any thread; see the orders below] */
};

struct pc_ledger {
	unsigned device_count; /* [const after the ledger is shared] */
	struct device devices[PC_DEVICE_MAX];
};

int pc_ledger_create(struct pc_ledger **ret_ledger, struct pc_error *err)
{
	struct pc_ledger *ledger = pc_calloc(1, sizeof(*ledger));

	if (!ledger)
		return pc_error_oom(err);
	*ret_ledger = ledger;
	return 0;
}

void pc_ledger_destroy(struct pc_ledger *ledger)
{
	pc_free(ledger);
}

int pc_ledger_add_device(struct pc_ledger *ledger, const char *name, uint64_t total_bytes,
			 uint64_t budget_bytes, struct pc_error *err)
{
	if (!name || name[0] == '\0' || strlen(name) >= PC_DEVICE_NAME_MAX)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "device name '%s': it must have 1 to %d bytes",
				    name ? name : "", PC_DEVICE_NAME_MAX - 1);
	if (budget_bytes > total_bytes)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "device '%s': the budget of %" PRIu64
				    " bytes is more than the %" PRIu64 " bytes it has",
				    name, budget_bytes, total_bytes);
	if (pc_ledger_find(ledger, name) >= 0)
		return pc_error_set(err, PC_E_ALREADY_EXISTS,
				    "device '%s' is in the ledger already", name);
	if (ledger->device_count == PC_DEVICE_MAX)
		return pc_error_set(err, PC_E_INVALID_ARGUMENT,
				    "device '%s': the ledger holds at most %d devices", name,
				    PC_DEVICE_MAX);

	struct device *device = &ledger->devices[ledger->device_count];

	memcpy(device->name, name, strlen(name) + 1);
	device->total_bytes = total_bytes;
	atomic_init(&device->budget_bytes, budget_bytes);
	atomic_init(&device->reserved_bytes, 0);
	return (int)ledger->device_count++;
}

unsigned pc_ledger_device_count(const struct pc_ledger *ledger)
{
	return ledger->device_count;
}

int pc_ledger_find(const struct pc_ledger *ledger, const char *name)
{
	for (unsigned i = 0; name && i < ledger->device_count; i++) {
		if (strcmp(ledger->devices[i].name, name) == 0)
			return (int)i;
	}
	return -1;
}

static struct device *device_at(struct pc_ledger *ledger, unsigned index)
{
	assert(index < ledger->device_count);
	return &ledger->devices[index];
}

/*
 * Reads `reserved`, then `budget`, and again if a change of the budget began meanwhile. In that
 * order, what a raised budget allowed is never shown beside the old budget; and reservations that
 * were returned before the budget was lowered are never shown beside the lower one, for its change
 * began in between. Each acquire keeps the next reading behind it and pairs with the seq_cst stores
 * of the writers. Another round means that somebody made progress, so this waits for no thread that
 * sleeps.
 */
void pc_ledger_account(const struct pc_ledger *ledger, unsigned index,
		       struct pc_device_account *ret_account)
{
	assert(index < ledger->device_count);

	const struct device *device = &ledger->devices[index];
	uint64_t changes, reserved, budget;

	do {
		changes = atomic_load_explicit(&device->budget_changes, memory_order_acquire);
		reserved = atomic_load_explicit(&device->reserved_bytes, memory_order_acquire);
		budget = atomic_load_explicit(&device->budget_bytes, memory_order_acquire);
	} while (atomic_load_explicit(&device->budget_changes, memory_order_relaxed) != changes);

	*ret_account = (struct pc_device_account){
		.total_bytes = device->total_bytes,
		.budget_bytes = budget,
		.reserved_bytes = reserved,
	};
	memcpy(ret_account->name, device->name, sizeof(ret_account->name));
}

bool pc_ledger_reserve(struct pc_ledger *ledger, unsigned index, uint64_t bytes)
{
	struct device *device = device_at(ledger, index);
	uint64_t reserved = atomic_load_explicit(&device->reserved_bytes, memory_order_relaxed);
	uint64_t budget;

	do {
		/* seq_cst: partner of the store in pc_ledger_set_budget. */
		budget = atomic_load_explicit(&device->budget_bytes, memory_order_seq_cst);
		if (reserved > budget || bytes > budget - reserved)
			return false;
		/* seq_cst: ordered before the second look below; a failure only brings the new
		 * value. */
	} while (!atomic_compare_exchange_weak_explicit(&device->reserved_bytes, &reserved,
							reserved + bytes, memory_order_seq_cst,
							memory_order_relaxed));

	/* The second look. Compared with what the swap made of the sum, not with what others made
	 * since. */
	budget = atomic_load_explicit(&device->budget_bytes, memory_order_seq_cst);
	if (reserved + bytes <= budget)
		return true;
	pc_ledger_release(ledger, index, bytes);
	return false;
}

void pc_ledger_release(struct pc_ledger *ledger, unsigned index, uint64_t bytes)
{
	struct device *device = device_at(ledger, index);
	/* seq_cst: whoever sees a budget that was lowered after this also sees the lower sum. */
	uint64_t before = atomic_fetch_sub_explicit(&device->reserved_bytes, bytes,
						    memory_order_seq_cst);

	assert(before >= bytes);
	(void)before;
}

bool pc_ledger_true_up(struct pc_ledger *ledger, unsigned index, uint64_t from_bytes,
		       uint64_t to_bytes)
{
	struct device *device = device_at(ledger, index);
	/* One step, though it be downwards: unsigned arithmetic wraps to the right sum. */
	uint64_t before = atomic_fetch_add_explicit(&device->reserved_bytes, to_bytes - from_bytes,
						    memory_order_seq_cst);

	assert(before >= from_bytes);
	assert(to_bytes <= UINT64_MAX - (before - from_bytes));
	return before - from_bytes + to_bytes <=
	       atomic_load_explicit(&device->budget_bytes, memory_order_acquire);
}

void pc_ledger_set_budget(struct pc_ledger *ledger, unsigned index, uint64_t budget_bytes)
{
	struct device *device = device_at(ledger, index);

	/* relaxed: the store below publishes it. Whoever reads the new
	 * budget knows of the change. */
	atomic_fetch_add_explicit(&device->budget_changes, 1, memory_order_relaxed);
	/* seq_cst: partner of both loads in pc_ledger_reserve. */
	atomic_store_explicit(&device->budget_bytes, budget_bytes, memory_order_seq_cst);
}
