# SPDX-License-Identifier: MIT
# A worker that somebody who waits is about to lease goes by pressure (I7).
s/worker->model->waiting == 0 && (pc__retire)/\1/
