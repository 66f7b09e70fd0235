# SPDX-License-Identifier: MIT
# Room is settled with each worker that is adopted.
s/^\tleave_unsettled\(sched\);/\tpc__leave(sched);/
