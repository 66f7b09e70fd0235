# SPDX-License-Identifier: MIT
# A reservation ends when stop is sent, not when the memory is free (rule 4).
s/^\tmove\(worker, WORKER_STOPPING\);/&\n\tpc_ledger_true_up(sched->ledger, worker->device, worker->reserved_bytes, 0);/
