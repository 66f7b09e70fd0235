# SPDX-License-Identifier: MIT
# Nobody asks to be told when a leased worker idles: who waits for it starves.
s/pc__look_at_all\(sched, true\)/pc__look_at_all(sched, false)/
