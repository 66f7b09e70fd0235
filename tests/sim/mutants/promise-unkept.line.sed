# SPDX-License-Identifier: MIT
# A promise stays though what it is of is promised to others who stand before.
s/> coming_bytes \? model : NULL/> coming_bytes ? NULL : NULL/
