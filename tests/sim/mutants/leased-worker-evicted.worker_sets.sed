# SPDX-License-Identifier: MIT
# Idle means ready, not unused (I7).
s/ready && worker->leases == 0 && worker->lent == 0/ready/
