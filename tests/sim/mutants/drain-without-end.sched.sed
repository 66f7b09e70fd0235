# SPDX-License-Identifier: MIT
# A shutdown waits for its last request for ever (rule 12).
s/^\tend_drain\(sched\);//
