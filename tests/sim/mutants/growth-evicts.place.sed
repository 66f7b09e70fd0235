# SPDX-License-Identifier: MIT
# Who grows evicts others at once: two that do not fit together thrash (rule 5).
/^static bool may_evict/,/^}/s/has_waited_long\(model\)/true/
