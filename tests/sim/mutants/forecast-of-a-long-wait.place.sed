# SPDX-License-Identifier: MIT
# A forecast takes the last wait for the next one, and young workers for victims.
s/return stands \? (.*) : 0;/return \1;/
