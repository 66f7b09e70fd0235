# SPDX-License-Identifier: MIT
# A device that is tight keeps its idle workers (rule 11).
s/^\t\t\tpc__relieve_one\(sched, device\);/\t\t\t;/
