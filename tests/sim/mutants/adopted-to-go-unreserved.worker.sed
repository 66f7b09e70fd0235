# SPDX-License-Identifier: MIT
# The memory of a worker that comes to go is not on the books.
s/^\tpc_ledger_true_up\(model->sched->ledger, device, 0, bytes\);//
