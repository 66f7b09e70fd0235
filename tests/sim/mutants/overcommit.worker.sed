# SPDX-License-Identifier: MIT
# The check takes half of what is needed for enough, and nothing is refused at the ledger (I1).
s/!pc_ledger_reserve\((.*), device, /pc_ledger_true_up(\1, device, 0, /
s/(true_up.*)\)\) \{/\1) \&\& false) {/
