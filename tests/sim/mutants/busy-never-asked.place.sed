# SPDX-License-Identifier: MIT
# Nobody asks again about a worker that was in use once.
s/sched->askable\.first && is_evictor_between\(sched, place, model\)/false/
