# SPDX-License-Identifier: MIT
# Whether others could make room is told from the sums of an earlier time.
s/^\tpc__set_freshen\(idle\);//
