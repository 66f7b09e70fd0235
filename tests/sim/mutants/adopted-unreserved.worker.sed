# SPDX-License-Identifier: MIT
# The memory of an adopted worker is not reserved (rule 4).
s/^\tpc__worker_ready\(worker, 0\);/&\n\tpc_ledger_release(model->sched->ledger, device, bytes);/
