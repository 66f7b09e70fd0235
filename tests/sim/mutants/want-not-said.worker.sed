# SPDX-License-Identifier: MIT
# Nobody asks to be told when a leased worker idles: who waits for it starves.
s/worker->id, wanted, &use\)/worker->id, false, \&use)/
