# SPDX-License-Identifier: MIT
# The memory of an adopted worker is not reserved (rule 4).
s/^\tif \(loaded\)$/\tpc_ledger_release(model->sched->ledger, device, bytes);\n&/
