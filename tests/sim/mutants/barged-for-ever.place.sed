# SPDX-License-Identifier: MIT
# Who was about to be served, and was not, is not asked again (rule 3).
s/^\treview_doubts\(sched\);//
