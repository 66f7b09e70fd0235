# SPDX-License-Identifier: MIT
# Nobody asks again about a worker that was in use once.
s/^\tpc__ask_all_busy\(sched\);//
