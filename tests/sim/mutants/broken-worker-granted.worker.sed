# SPDX-License-Identifier: MIT
# A worker that was told to stop still looks like the least busy one (I3).
s/bool ready = worker->state == WORKER_READY;/bool ready = worker->state == WORKER_READY || worker->state == WORKER_STOPPING;/
