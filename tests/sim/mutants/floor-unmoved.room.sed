# SPDX-License-Identifier: MIT
# Of those above a floor that idle, no more may go when there are more of them (rule 5).
s/pc__set_count\(&holding->spare\) < spare && holding->kept\.first/false/
