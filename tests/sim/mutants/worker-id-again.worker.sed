# SPDX-License-Identifier: MIT
# Worker ids come again (I8).
s/\+\+sched->last_worker_id/1 + sched->last_worker_id++ % 12/
