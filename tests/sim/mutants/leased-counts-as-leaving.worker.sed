# SPDX-License-Identifier: MIT
# Who waits for room waits for workers that are leased for long (rule 5).
s/\(force \|\| worker->lent == 0\)/true/
