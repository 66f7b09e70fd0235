# SPDX-License-Identifier: MIT
# A worker that somebody who waits is about to lease cools down (I7).
s/if \(model->waiting == 0 && pc__live_workers/if (pc__live_workers/
