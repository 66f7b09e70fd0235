# SPDX-License-Identifier: MIT
# Nobody looks again when a worker has gone.
/pc_ledger_release/{n;s/sched->room_changed = true;//;}
