# SPDX-License-Identifier: MIT
# A worker that was told to stop still looks like the least busy one (I3).
s/ready \&\& worker->leases < model/(ready || worker->state == WORKER_STOPPING) \&\& worker->leases < model/
