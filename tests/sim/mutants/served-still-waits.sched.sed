# SPDX-License-Identifier: MIT
# A request that was served keeps its place in the queue (I2).
/^uint64_t pc_sched_served/,/^}/s/pc__withdraw\(ticket\);/ticket->brain.state = TICKET_OVER;/
