# SPDX-License-Identifier: MIT
# Workers are replaced under those who use them.
s/PC_STOP_REPLACED, false/PC_STOP_REPLACED, true/
