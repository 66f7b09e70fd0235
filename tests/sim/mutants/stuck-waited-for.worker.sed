# SPDX-License-Identifier: MIT
# Room is waited for that nobody knows when it comes (rule 5).
s/^\tcount_upon\(worker, false\);//
