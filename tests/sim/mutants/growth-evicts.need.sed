# SPDX-License-Identifier: MIT
# Who grows evicts others at once: two that do not fit together thrash (rule 5).
/^bool pc__may_evict/,/^}/s/pc__has_waited_long\(model\)/true/
