# SPDX-License-Identifier: MIT
# Growth of an idle worker is forgotten in the bytes that could be freed.
s/if \(pc__linked\(&worker->idle_place\)\)/if (false)/
