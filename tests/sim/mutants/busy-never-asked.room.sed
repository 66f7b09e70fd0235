# SPDX-License-Identifier: MIT
# Nobody asks again about a worker that was in use once.
s/^\task_all_busy\(sched\);//
