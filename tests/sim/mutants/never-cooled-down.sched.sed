# SPDX-License-Identifier: MIT
# Idle workers stay for ever (I9).
s/^\tmaintain\(sched\);//
