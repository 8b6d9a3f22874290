-- ARGV: 1 channel, then streamIds
-- Returns what the order follows from: owner, counter, turn, number of those who wait; the waiting
-- jobs; and which of the streamIds nothing is known of.
local owners = {}
for _, member in ipairs(redis.call('ZRANGE', LINE, 0, -1)) do
    local owner = owner_of(member)
    local row = row_of(owner)
    owners[#owners + 1] = {owner, exact(row.counter), row.turn, row.number}
end
return {owners, redis.call('ZRANGE', WAITING, 0, -1), unknown_of(2, #ARGV - 1)}
