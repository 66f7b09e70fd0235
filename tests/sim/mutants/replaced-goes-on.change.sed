# SPDX-License-Identifier: MIT
# Workers of an earlier launch stay.
s/^\t\t\tpc__retire\(worker, PC_STOP_REPLACED, false\);/\t\t\t;/
