# SPDX-License-Identifier: MIT
# All idle workers of a tight device go at once (rule 11).
/PC_STOP_PRESSURE, false\)\)/{N;s/return true/continue/;}
