# SPDX-License-Identifier: MIT
# A worker that has served enough is stopped with its leases.
s/PC_STOP_RECYCLED, false/PC_STOP_RECYCLED, true/
