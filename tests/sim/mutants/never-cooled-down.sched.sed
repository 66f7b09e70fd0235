# SPDX-License-Identifier: MIT
# Idle workers stay for ever (I9).
s/^\tpc__maintain\(sched\);//
