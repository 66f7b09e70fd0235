# SPDX-License-Identifier: MIT
# Room once promised is never free again.
s/^\t\tsched->devices\[d\].promised_bytes = 0;//
