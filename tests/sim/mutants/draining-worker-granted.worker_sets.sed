# SPDX-License-Identifier: MIT
# A worker that drains goes on getting leases (I3).
s/bool ready = worker->state == WORKER_READY;/bool ready = worker->state == WORKER_READY || worker->state == WORKER_DRAINING;/
