# SPDX-License-Identifier: MIT
# Nobody looks at a worker again that was kept for those who waited.
s/^\t\tsched->room_changed \|=.*;/\t\t;/
