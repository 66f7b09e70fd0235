# SPDX-License-Identifier: MIT
# Workers serve and grow for ever.
s/!pc__is_due_for_recycling\(worker\)/true/
