# SPDX-License-Identifier: MIT
# A worker may load for ever (I10).
s/^\tpc__expire_starting\(sched\);//
