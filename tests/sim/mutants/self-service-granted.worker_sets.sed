# SPDX-License-Identifier: MIT
# The brain hands out slots that the body hands out.
s/ && !self_service,/,/
