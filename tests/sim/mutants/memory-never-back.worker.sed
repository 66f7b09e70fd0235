# SPDX-License-Identifier: MIT
# A reservation is never given back (I9).
s/pc_ledger_release\(/(void)(/
